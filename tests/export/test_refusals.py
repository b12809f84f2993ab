"""What cannot be exported is refused before anything is written; oddities are said."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from numcodecs.errors import UnsafeDecodeError
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError
from tests.helpers import SETTINGS, run_command, small_anndata, tree_bytes, write_h5ad
from tests.viewer_reader import check


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "export"


def refused(source: Any, target: Path, match: str, **options: Any) -> str:
    """Check that an export is refused for `match` and leaves nothing; return the words."""
    beside = sorted(target.parent.iterdir())
    with pytest.raises(RequestError, match=match) as refusal:
        cellucid_dask.export(source, target, **options)
    assert sorted(target.parent.iterdir()) == beside
    return str(refusal.value)


def assert_warned(source: Any, target: Path, match: str, **options: Any) -> None:
    with pytest.warns(ExportWarning, match=match):
        cellucid_dask.export(source, target, **options)
    check(target)


def with_genes(*genes: str) -> ad.AnnData:
    return small_anndata(genes=list(genes))


# The matrix


def transpose_x(path: Path) -> None:
    """Store the dense X of an h5ad file the other way round."""
    with h5py.File(path, "a") as file:
        matrix, attributes = file["X"][:].T, dict(file["X"].attrs)
        del file["X"]
        file["X"] = matrix
        file["X"].attrs.update(attributes)


@pytest.fixture
def transposed(tmp_path: Path) -> Path:
    path = write_h5ad(small_anndata(form="dense"), tmp_path / "transposed.h5ad")
    transpose_x(path)
    return path


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


def test_names_that_differ_by_case_are_said(target: Path) -> None:
    adata = with_genes("Actb", "ACTB", "other")
    assert_warned(adata, target, "(?i)case")


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


# Targets


def test_target_with_an_export(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target)
    before = tree_bytes(target)

    with pytest.raises(RequestError, match="force"):
        cellucid_dask.export(small_h5ad, target, gene_identifiers=["gene1"])
    assert tree_bytes(target) == before

    cellucid_dask.export(small_h5ad, target, gene_identifiers=["gene1"], force=True)
    assert check(target).genes == ["gene1"]


def test_forced_export_into_nothing(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target, force=True)
    check(target)


def test_refused_export_keeps_what_force_would_replace(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target)
    before = tree_bytes(target)
    with pytest.raises(RequestError, match="nonsense"):
        cellucid_dask.export(small_h5ad, target, layer="nonsense", force=True)
    assert tree_bytes(target) == before


def test_strange_files_at_the_target_are_kept(small_h5ad: Path, target: Path) -> None:
    target.mkdir()
    (target / "thesis.docx").write_text("mine")
    try:
        cellucid_dask.export(small_h5ad, target, force=True)
    except RequestError:
        assert [file.name for file in target.iterdir()] == ["thesis.docx"]
    assert (target / "thesis.docx").read_text() == "mine"


def test_target_is_a_file(small_h5ad: Path, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(RequestError):
        cellucid_dask.export(small_h5ad, target)
    assert target.read_text() == "mine"


def test_target_is_the_source(small_h5ad: Path) -> None:
    before = small_h5ad.read_bytes()
    with pytest.raises(RequestError):
        cellucid_dask.export(small_h5ad, small_h5ad, force=True)
    assert small_h5ad.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(small_h5ad: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(RequestError, match="locked"):
        cellucid_dask.export(small_h5ad, folder / "export")


def test_target_in_no_known_store(small_h5ad: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        cellucid_dask.export(small_h5ad, "nowhere://bucket/export")


# Sources


def test_missing_file(tmp_path: Path, target: Path) -> None:
    refused(tmp_path / "none.h5ad", target, r"none\.h5ad")


@pytest.mark.parametrize("name", ["notes.h5ad", "notes.txt"])
def test_not_an_hdf5_file(tmp_path: Path, target: Path, name: str) -> None:
    (tmp_path / name).write_text("no AnnData here\n" * 100)
    refused(tmp_path / name, target, "notes")


def test_hdf5_file_without_anndata(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["measurements"] = np.arange(10)
    refused(tmp_path / "other.h5ad", target, "(?i)anndata")


def test_folder_without_anndata(tmp_path: Path, target: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    refused(tmp_path / "folder.zarr", target, r"folder\.zarr")


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_truncated_file(small_h5ad: Path, target: Path, part: float) -> None:
    data = small_h5ad.read_bytes()
    small_h5ad.write_bytes(data[: int(len(data) * part)])
    refused(small_h5ad, target, r"small\.h5ad")


def test_empty_file(tmp_path: Path, target: Path) -> None:
    (tmp_path / "empty.h5ad").touch()
    refused(tmp_path / "empty.h5ad", target, r"empty\.h5ad")


def test_source_of_another_kind(target: Path) -> None:
    refused({"X": np.eye(3)}, target, "(?i)dict|anndata")


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


# Warnings


def test_genes_of_zeros_are_counted(target: Path) -> None:
    matrix = np.zeros((40, 6), dtype=np.float32)
    matrix[:, 2] = np.linspace(0.1, 1, 40)
    assert_warned(small_anndata(matrix), target, r"(?i)\b5\b.*zero")


def test_genes_with_missing_values_are_named(target: Path) -> None:
    matrix = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    matrix[[1, 2, 3], 2] = [np.nan, np.inf, -np.inf]
    assert_warned(small_anndata(matrix, form="dense"), target, r"gene2(.|\n)*3|3(.|\n)*gene2")


def test_constant_genes(target: Path) -> None:
    matrix = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    matrix[:, 1] = 2.5
    assert_warned(small_anndata(matrix), target, "(?i)constant|same value|one value")


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_counts_look_raw(target: Path, dtype: str) -> None:
    matrix = np.random.default_rng(0).poisson(1.0, (40, 6)).astype(dtype)
    assert_warned(small_anndata(matrix), target, "(?i)raw")


def test_normalized_values_do_not_look_raw(target: Path, recwarn: pytest.WarningsRecorder) -> None:
    cellucid_dask.export(small_anndata(), target)
    assert not [str(each.message) for each in recwarn if "counts" in str(each.message).lower()]


def test_missing_genes_are_skipped(target: Path) -> None:
    genes = ["gene1", "CD3D", "gene0"]
    assert_warned(small_anndata(), target, "CD3D", gene_identifiers=genes, skip_missing_genes=True)
    assert check(target).genes == ["gene1", "gene0"]


def test_no_gene_is_left(target: Path) -> None:
    refused(small_anndata(), target, "CD3D", gene_identifiers=["CD3D"], skip_missing_genes=True)


def test_no_latent_space(target: Path) -> None:
    adata = small_anndata()
    del adata.obsm["X_pca"]
    assert_warned(adata, target, "(?i)latent|X_umap")


# The command line


def cli_refused(target: Path, *arguments: str | Path) -> str:
    """Check that the command refuses in a line or two; return them."""
    run = run_command("export", *arguments)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 2, run.stderr
    assert not target.exists()
    return run.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--layer", "logged"), "logged"),
        (("--genes", "gene1,CD3D"), "CD3D"),
        (("--genes-file", "missing.txt"), "missing.txt"),
        (("--genes-from", "highly_variable"), "highly_variable"),
        (("--var-gene-id-column", "ensembl"), "ensembl"),
        (("--obs-keys", "celltype"), "celltype"),
        (("--embedding", "X_tsne"), "X_tsne"),
        (("--latent", "X_scvi"), "X_scvi"),
        (("--var-quantization", "12"), "12"),
        (("--compression", "11"), "11"),
        (("--memory-budget", "banana"), "banana"),
        (("--created-at", "yesterday"), "yesterday"),
        (("--bananas",), "--bananas"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_command_refuses_options(
    small_h5ad: Path, target: Path, options: tuple[str, ...], word: str
) -> None:
    assert word in cli_refused(target, small_h5ad, target, *options)


def test_command_refuses_a_missing_source(tmp_path: Path, target: Path) -> None:
    assert "none.h5ad" in cli_refused(target, tmp_path / "none.h5ad", target)


def test_command_refuses_a_truncated_source(small_h5ad: Path, target: Path) -> None:
    small_h5ad.write_bytes(small_h5ad.read_bytes()[:20_000])
    assert "small.h5ad" in cli_refused(target, small_h5ad, target)


def test_command_refuses_a_transposed_matrix(transposed: Path, target: Path) -> None:
    assert "transpose" in cli_refused(target, transposed, target).lower()


def test_command_refuses_an_existing_export(small_h5ad: Path, target: Path) -> None:
    done = run_command("export", small_h5ad, target, "--no-progress")
    assert done.returncode == 0, done.stderr
    check(target)

    again = run_command("export", small_h5ad, target, "--no-progress")
    assert again.returncode == 2
    assert "--force" in again.stderr

    forced = run_command(
        "export", small_h5ad, target, "--force", "--genes", "gene3", "--no-progress"
    )
    assert forced.returncode == 0, forced.stderr
    assert check(target).genes == ["gene3"]


def test_command_without_arguments() -> None:
    run = run_command("export")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_command_answers_in_json(small_h5ad: Path, target: Path) -> None:
    run = run_command("export", small_h5ad, target, "--json")
    assert run.returncode == 0, run.stderr
    assert isinstance(json.loads(run.stdout), dict)


def test_command_and_python_write_the_same(small_h5ad: Path, tmp_path: Path) -> None:
    options = (
        "--created-at",
        SETTINGS["created_at"],
        "--dataset-id",
        "cells",
        "--dataset-name",
        "Cells",
    )
    run = run_command("export", small_h5ad, tmp_path / "command", *options)
    assert run.returncode == 0, run.stderr

    cellucid_dask.export(small_h5ad, tmp_path / "python", **SETTINGS)

    assert tree_bytes(tmp_path / "command") == tree_bytes(tmp_path / "python")


def test_zarr_that_brings_a_pickle(tmp_path: Path, target: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    store = tmp_path / "trap.zarr"
    with ad.settings.override(zarr_write_format=2):
        small_anndata().write_zarr(store)
    (store / ".zmetadata").unlink()
    names = store / "obs/cell_type/categories"
    layout = json.loads((names / ".zarray").read_text())
    layout |= {"dtype": "|O", "compressor": None}
    layout["filters"] = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]
    (names / ".zarray").write_text(json.dumps(layout))
    (names / "0").write_bytes(pickle.dumps([Trap()]))

    with pytest.raises(UnsafeDecodeError):
        cellucid_dask.export(store, target)
    assert not (tmp_path / "sprung").exists()
    assert not target.exists()
