"""Two optional documents: other names of the genes, and the names of the cells."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import cellucid_dask
from cellucid_dask import RequestError
from tests.helpers import small_anndata, write_h5ad, write_zarr

ENSEMBL = [f"ENSG{number:011d}" for number in range(12)]
SYMBOLS = [f"SYM{number}" for number in range(11)] + [None]


def document(target: Path, name: str) -> Any:
    data = (target / name).read_bytes()
    return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize("column", ["feature_name", "Gene_Symbol"])
def test_symbols_are_found_where_ids_are_ensembls(tmp_path: Path, column: str) -> None:
    adata = small_anndata(genes=ENSEMBL)
    adata.var[column] = SYMBOLS
    source = write_h5ad(adata, tmp_path / "a.h5ad")
    cellucid_dask.export(source, tmp_path / "out", gene_identifiers=ENSEMBL[::-2], progress=False)
    assert document(tmp_path / "out", "dataset_identity.json")["gene_aliases"] == "aliases.json"
    aliases = document(tmp_path / "out", "aliases.json")
    assert aliases == {"column": column, "names": SYMBOLS[::-2]}
    assert cellucid_dask.verify(tmp_path / "out", source).ok


def test_symbols_are_not_looked_for_where_ids_are_symbols(tmp_path: Path) -> None:
    adata = small_anndata()
    adata.var["feature_name"] = [f"other{number}" for number in range(12)]
    cellucid_dask.export(adata, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "aliases.json").exists()
    assert "gene_aliases" not in document(tmp_path / "out", "dataset_identity.json")


def test_a_column_of_aliases_is_chosen(tmp_path: Path) -> None:
    cellucid_dask.export(small_anndata(), tmp_path / "out", gene_aliases="symbol", progress=False)
    aliases = document(tmp_path / "out", "aliases.json")
    assert aliases["names"] == [f"symbol-gene{number}" for number in range(12)]
    with pytest.raises(RequestError, match="var has no column 'nothing' for gene_aliases"):
        cellucid_dask.export(small_anndata(), tmp_path / "no", gene_aliases="nothing")


def test_aliases_of_an_older_export_go(tmp_path: Path) -> None:
    adata = small_anndata()
    options: dict[str, Any] = {"progress": False, "cell_ids": True}
    cellucid_dask.export(adata, tmp_path / "out", gene_aliases="symbol", **options)
    cellucid_dask.export(adata, tmp_path / "out", force=True, progress=False)
    assert not (tmp_path / "out" / "aliases.json").exists()
    assert not (tmp_path / "out" / "cells.json.gz").exists()
    assert cellucid_dask.verify(tmp_path / "out").ok


@pytest.mark.parametrize("form", ["h5ad", "zarr", "memory"])
@pytest.mark.parametrize("compression", [6, None])
def test_cell_ids(tmp_path: Path, form: str, compression: int | None) -> None:
    adata = small_anndata()
    source: Any = adata
    if form != "memory":
        source = (write_h5ad if form == "h5ad" else write_zarr)(adata, tmp_path / f"a.{form}")
    options: dict[str, Any] = {"compression": compression, "progress": False}
    cellucid_dask.export(source, tmp_path / "out", cell_ids=True, **options)
    name = document(tmp_path / "out", "dataset_identity.json")["cell_ids"]
    assert name == ("cells.json.gz" if compression else "cells.json")
    assert document(tmp_path / "out", name) == adata.obs_names.tolist()
    assert cellucid_dask.verify(tmp_path / "out").ok
