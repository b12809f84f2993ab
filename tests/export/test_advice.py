"""What is said of a source before the work starts, by plan and export alike."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import cellucid_dask
from cellucid_dask.engine import genes
from tests.helpers import MatrixForm, small_anndata, write_h5ad

FORMS: list[MatrixForm] = ["csr", "csc", "dense"]


class TooEarlyError(Exception):
    """The work has started."""


def said(source: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """Return what plan and export say before the first gene is read."""

    def stop(*_: Any, **__: Any) -> None:
        raise TooEarlyError

    monkeypatch.setattr(genes, "build", stop)
    with warnings.catch_warnings(record=True) as planned:
        warnings.simplefilter("always", cellucid_dask.ExportWarning)
        cellucid_dask.plan(source, progress=False, **options)
    with warnings.catch_warnings(record=True) as exported:
        warnings.simplefilter("always", cellucid_dask.ExportWarning)
        with pytest.raises(TooEarlyError):
            cellucid_dask.export(source, "memory://advice/out", force=True, **options)
    texts = [[str(each.message) for each in found] for found in (planned, exported)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == len(texts[0])
    return "\n".join(texts[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stored", [True, False], ids=["file", "memory"])
def test_raw_counts(
    form: MatrixForm, stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Any = small_anndata(form=form, dtype="int32")
    values: Any = small_anndata(form=form)
    if stored:
        counts = write_h5ad(counts, tmp_path / "counts.h5ad")
        values = write_h5ad(values, tmp_path / "values.h5ad")
    text = "X looks like raw counts"
    assert text in said(counts, monkeypatch)
    assert 'normalize="log1p-cp10k"' in said(counts, monkeypatch)
    assert text not in said(counts, monkeypatch, normalize="log1p-cp10k")
    assert text not in said(values, monkeypatch)


def test_raw_counts_are_said_once(tmp_path: Path) -> None:
    adata = small_anndata(dtype="int32")
    result = cellucid_dask.export(adata, tmp_path / "out", progress=False)
    assert sum("raw counts" in each for each in result.warnings) == 1


@pytest.mark.parametrize("form", FORMS)
def test_genes_without_a_value(form: MatrixForm, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = small_anndata(form="dense").X
    matrix[:, [3, 5]] = 0
    text = said(small_anndata(matrix, form=form), monkeypatch)
    assert "2 of 12 genes have no value in any cell" in text
    assert "genes_from" in text
    chosen = ["gene1", "gene3"]
    assert "1 of 2 genes" in said(
        small_anndata(matrix, form=form), monkeypatch, gene_identifiers=chosen
    )
    assert "no value" not in said(small_anndata(form=form), monkeypatch)


@pytest.mark.parametrize(
    "key", ["patient_name", "Donor Name", "date_of_birth", "DOB", "e-mail", "MRN", "surname"]
)
def test_columns_about_people(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = small_anndata()
    adata.obs[key] = ["a", "b"] * 20
    text = said(adata, monkeypatch)
    assert f"obs columns {key} look like names of people" in text
    assert "obs_keys" in text
    assert "people" not in said(adata, monkeypatch, obs_keys=["score"])


@pytest.mark.parametrize(
    "key", ["donor", "sample_name", "cell_type", "patient", "name", "address2"]
)
def test_columns_that_are_not_about_people(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = small_anndata()
    adata.obs[key] = ["a", "b"] * 20
    assert "people" not in said(adata, monkeypatch)


def test_ensembl_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    adata = small_anndata(genes=[f"ENSG{i:011}" for i in range(12)], extras=False)
    adata.var = adata.var[["marker"]]
    assert "gene_aliases" in said(adata, monkeypatch)
    adata.var["feature_name"] = [f"G{i}" for i in range(12)]
    assert 'var_gene_id_column="feature_name"' in said(adata, monkeypatch)
    named = said(adata, monkeypatch, var_gene_id_column="feature_name")
    assert "Ensembl" not in named
    assert "Ensembl" not in said(small_anndata(), monkeypatch)


@pytest.mark.parametrize(
    ("wanted", "options", "words"),
    [
        (
            ["symbol-gene1", "symbol-gene2"],
            {},
            r"in var symbol \(2 of them\).*var_gene_id_column",
        ),
        (["gene1"], {"var_gene_id_column": "symbol"}, r"in var index \(1 of them\)"),
        (["GENE1", "gene2"], {}, r"Did you mean gene1\?"),
        (["CD3D"], {}, r"for example gene0, gene1, gene2"),
    ],
)
def test_missing_genes(wanted: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(cellucid_dask.RequestError, match=words):
        cellucid_dask.plan(small_anndata(), gene_identifiers=wanted, **options)


def test_no_embedding() -> None:
    adata = small_anndata()
    del adata.obsm["X_umap"]
    with pytest.raises(cellucid_dask.RequestError, match=r"scanpy\.tl\.umap.*cannot be looked at"):
        cellucid_dask.plan(adata)


@pytest.mark.parametrize(("n_cells", "kept"), [(20, True), (21, False), (500, False)])
@pytest.mark.parametrize("stored", [True, False], ids=["file", "memory"])
def test_text_that_names_every_cell(n_cells: int, kept: bool, stored: bool, tmp_path: Path) -> None:
    adata = small_anndata(n_cells=n_cells)
    adata.obs["barcode"] = [f"ACGT{i}" for i in range(n_cells)]
    adata.obs["well"] = [f"ACGT{i // 2}" for i in range(n_cells)]
    adata.obs["number"] = np.arange(n_cells)
    source: Any = write_h5ad(adata, tmp_path / "a.h5ad") if stored else adata
    cellucid_dask.export(source, tmp_path / "out", progress=False)
    obs = cellucid_dask.open_export(tmp_path / "out").obs
    assert ("barcode" in obs) == kept
    assert {"well", "number", "cell_type"} <= set(obs)
    asked = tmp_path / "asked"
    cellucid_dask.export(source, asked, obs_keys=["barcode"], progress=False)
    assert obs.shape[0] == len(cellucid_dask.open_export(asked).obs["barcode"].unique())


def test_categories_that_name_every_cell_stay(tmp_path: Path) -> None:
    adata: ad.AnnData = small_anndata()
    adata.obs["barcode"] = [f"ACGT{i}" for i in range(40)]
    adata.obs["barcode"] = adata.obs["barcode"].astype("category")
    cellucid_dask.export(adata, tmp_path / "out", progress=False)
    assert "barcode" in cellucid_dask.open_export(tmp_path / "out").obs
