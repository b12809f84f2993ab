"""What cannot be exported of a matrix, names, cells or options is refused before any writing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask import RequestError
from tests.export.refusing import refused, with_genes
from tests.helpers import small_anndata
from tests.viewer_reader import check


def test_transposed_matrix(transposed: Path, target: Path) -> None:
    words = refused(transposed, target, "(?i)transpose")
    assert re.search("12 . 40", words)


def test_misaligned_sparse_matrix(small_h5ad: Path, target: Path) -> None:
    with h5py.File(small_h5ad, "a") as file:
        file["X"].attrs["shape"] = np.array([40, 13])
    refused(small_h5ad, target, "13")


# Names


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layer": "logged"}, "logged(.|\n)*doubled"),
        ({"gene_identifiers": ["gene1", "CD3D"]}, "CD3D(.|\n)*skip[-_]missing[-_]genes"),
        ({"var_gene_id_column": "ensembl"}, "ensembl(.|\n)*symbol"),
        ({"obs_keys": ["cell_type", "celltype"]}, "'?celltype'?(.|\n)*cell_type"),
        ({"embeddings": ["X_tsne"]}, "X_tsne(.|\n)*X_umap"),
        ({"latent": "X_scvi"}, "X_scvi(.|\n)*X_pca"),
        ({"gene_identifiers": []}, "gene_identifiers"),
        ({"gene_identifiers": "gene1"}, "list"),
        ({"gene_identifiers": ["gene1", "gene1"]}, "gene1"),
    ],
    ids=lambda value: str(*value) if isinstance(value, dict) else "",
)
def test_unknown_name(target: Path, options: dict[str, Any], match: str) -> None:
    refused(small_anndata(), target, match, **options)


def test_many_unknown_genes_are_not_all_named(target: Path) -> None:
    unknown = [f"nonsense{i}" for i in range(500)]
    words = refused(small_anndata(), target, "nonsense0", gene_identifiers=unknown)
    assert "500" in words
    assert len(words) < 500


def test_layer_raw_of_data_without_raw(target: Path) -> None:
    adata = small_anndata()
    adata.raw = None
    refused(adata, target, "raw(.|\n)*X", layer="raw")


def test_layer_raw_has_its_own_genes(target: Path) -> None:
    cellucid_dask.export(small_anndata(), target, layer="raw")
    assert check(target).genes == [f"raw{i}" for i in range(15)]


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_duplicate_genes(target: Path) -> None:
    adata = with_genes("A", "B", "A", "C", "B")
    words = refused(adata, target, r"make[-_]genes[-_]unique")
    assert all(name in words for name in ("A", "B", "index"))
    assert re.search("gene.id.column", words)

    cellucid_dask.export(adata, target, make_genes_unique=True)
    assert check(target).genes == ["A", "B", "A-1", "C", "B-1"]


def test_missing_gene_names(target: Path) -> None:
    adata = small_anndata()
    adata.var["symbol"] = pd.Series([None, *adata.var_names[1:]], index=adata.var_names)
    refused(adata, target, "symbol", var_gene_id_column="symbol")


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("_x", "x"), ("α", "β"), (".x.", "x_")])  # noqa: RUF001
def test_genes_of_one_file_name(target: Path, names: tuple[str, str]) -> None:
    words = refused(with_genes(*names, "other"), target, "(?i)file")
    assert all(name in words for name in names)


def test_unchosen_genes_do_not_collide(target: Path) -> None:
    adata = with_genes("a/b", "a_b", "c")
    cellucid_dask.export(adata, target, gene_identifiers=["a/b", "c"])
    assert check(target).genes == ["a/b", "c"]


def test_cell_columns_of_one_file_name(target: Path) -> None:
    adata = small_anndata()
    adata.obs["cell type"] = adata.obs["cell_type"]
    words = refused(adata, target, r"obs[-_]keys")
    assert "cell type" in words
    assert "cell_type" in words


def test_gene_named_like_a_path_stays_inside(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "inside" / "export"
    target.parent.mkdir(parents=True)
    names = ["../../x", "/etc/y", "..", "C:\\z", "new\nline", "%2e%2e%2fw"]

    cellucid_dask.export(with_genes(*names), target)

    assert check(target).genes == names
    outside = [
        file for file in tmp_path.rglob("*") if file.is_file() and not file.is_relative_to(target)
    ]
    assert not outside


# Cells


def test_points_that_are_not_finite(target: Path) -> None:
    adata = small_anndata()
    adata.obsm["X_umap"][[3, 17], [0, 1]] = [np.nan, np.inf]
    words = refused(adata, target, "X_umap")
    assert "3" in words
    assert "17" in words


def test_too_many_categories(target: Path) -> None:
    adata = small_anndata(n_cells=65_600, n_genes=2)
    adata.obs["barcode"] = pd.Categorical(adata.obs_names)
    words = refused(adata, target, "barcode", obs_keys=["barcode"])
    assert "65,600" in words or "65600" in words


def test_unused_cells_of_a_column_do_not_matter(target: Path) -> None:
    adata = small_anndata(n_cells=65_600, n_genes=2)
    adata.obs["barcode"] = pd.Categorical(adata.obs_names)
    cellucid_dask.export(adata, target, obs_keys=["cell_type"])
    assert set(check(target).obs) == {"cell_type"}


def test_nothing_to_show(target: Path) -> None:
    adata = small_anndata()
    del adata.obsm["X_umap"]
    adata.obsm["mode2"] = sparse.random(adata.n_obs, 30, density=0.1, format="csr")
    words = refused(adata, target, r"genes[-_]only")
    assert "mode2" in words


# Options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("var_quantization", 12),
        ("var_quantization", "8"),
        ("obs_continuous_quantization", 32),
        ("compression", 11),
        ("compression", -1),
        ("compression", "best"),
        ("memory_budget", "banana"),
        ("memory_budget", 0),
        ("memory_budget", "-1GiB"),
        ("created_at", "yesterday"),
    ],
)
def test_bad_value(target: Path, option: str, value: object) -> None:
    words = refused(small_anndata(), target, option, **{option: value})
    assert repr(value) in words


def test_bad_value_is_found_before_the_source_is_read(target: Path) -> None:
    refused("missing.h5ad", target, "compression", compression=11)


@pytest.mark.parametrize("unknown", ["quantization", "genes"])
def test_unknown_option(target: Path, unknown: str) -> None:
    with pytest.raises((RequestError, TypeError), match=unknown):
        cellucid_dask.export(small_anndata(), target, **{unknown: 8})
    assert not target.exists()


def test_small_memory_budget(target: Path) -> None:
    refused(small_anndata(), target, "(?i)memory(.|\n)*at least", memory_budget="1KiB")
