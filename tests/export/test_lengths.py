"""Every array of cells has as many rows as there are cells, or the source is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import write_elem

import cellucid_dask
from cellucid_dask import ExportError, RequestError
from cellucid_dask.format import identity, names
from cellucid_dask.output.compact_v1 import manifests
from tests.export.refusing import refused
from tests.helpers import SETTINGS, small_anndata, write_h5ad, write_zarr, writing
from tests.viewer_reader import check

ARRAYS = ["obs/score", "obs/cell_type/codes", "obsm/X_umap", "obsm/X_pca"]
TEXTS = ["obs/note", "obs/note/values", "obs/note/mask"]  # of pandas 2, and of pandas 3
OPTIONS: dict[str, dict[str, Any]] = {
    "obs/_index": {"cell_ids": True, "obs_keys": []},
    "obsm/velocity_umap": {"vector_fields": ["velocity_umap"]},
}


def _other_length(group: Any, path: str, n_rows: int) -> None:
    """Cut or repeat the rows of an array that is stored."""
    old = group[path]
    values, attributes = old[:], dict(old.attrs)
    del group[path]
    rows = np.arange(n_rows) % len(values)
    if isinstance(group, h5py.File):
        new = group.create_dataset(path, data=values[rows], dtype=old.dtype)
    else:
        new = group.create_array(path, data=values[rows])
    new.attrs.update(attributes)


def _data() -> ad.AnnData:
    adata = small_anndata(extras=False)
    adata.obs["note"] = [f"note {i}" for i in range(40)]
    adata.obsm["velocity_umap"] = np.ones((40, 2), np.float32)
    return adata


@pytest.mark.parametrize("n_rows", [30, 45])
@pytest.mark.parametrize("path", [*ARRAYS, *TEXTS, "obsm/velocity_umap"])
def test_rows_that_are_not_the_cells_of_h5ad(
    tmp_path: Path, target: Path, path: str, n_rows: int
) -> None:
    source = write_h5ad(_data(), tmp_path / "a.h5ad")
    with h5py.File(source, "a") as file, writing(allow_write_nullable_strings=True):
        notes = np.array([f"note {i}" for i in range(40)], object)
        write_elem(file["obs"], "note", notes if path == TEXTS[0] else pd.array(notes, "string"))
        _other_length(file, path, n_rows)
    name = path.split("/")[1]
    options = OPTIONS.get(path, {})
    words = refused(source, target, name, page=False, **options)
    assert f"{n_rows} rows" in words
    assert "40 cells" in words
    with pytest.raises(RequestError, match=f"{name}.*{n_rows} rows"):
        cellucid_dask.plan(source, **options)


@pytest.mark.parametrize("path", ["obs/score", "obsm/X_umap"])
def test_rows_that_are_not_the_cells_of_zarr(tmp_path: Path, target: Path, path: str) -> None:
    source = write_zarr(_data(), tmp_path / "a.zarr", version=2)
    group = zarr.open_group(source, mode="a", use_consolidated=False)
    _other_length(group, path, 30)
    zarr.consolidate_metadata(source)
    refused(source, target, "30 rows, but there are 40 cells", page=False)


def test_documents_that_disagree_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that `verify` would call damaged ends with an error, and without an identity."""
    describe = identity.describe_dataset

    def wrong(*arguments: Any, **options: Any) -> Any:
        document = describe(*arguments, **options)
        document["stats"]["n_genes"] += 1
        return document

    monkeypatch.setattr(manifests, "describe_dataset", wrong)
    with pytest.raises(ExportError, match="n_genes is 13, the manifests say 12"):
        cellucid_dask.export(small_anndata(), tmp_path / "export", **SETTINGS)
    written = {path.name for path in (tmp_path / "export").iterdir()}
    assert not written.intersection({names.IDENTITY, names.OBS_MANIFEST, names.VAR_MANIFEST})
    monkeypatch.undo()
    cellucid_dask.export(small_anndata(), tmp_path / "export", **SETTINGS, resume=True)
    check(tmp_path / "export")
