"""Exports to read and to damage."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import cellucid_dask
from tests.helpers import small_anndata
from tests.read.damage import EDGES, N_CELLS
from tests.read.exports import add_graph


@pytest.fixture
def adata() -> ad.AnnData:
    return small_anndata(n_cells=N_CELLS, n_genes=20)


@pytest.fixture
def target(adata: ad.AnnData, tmp_path: Path) -> Path:
    """Return an export with everything that an export can have but checksums.

    So are those of other programs, and what is changed in them must show by itself.
    """
    path = tmp_path / "export"
    cellucid_dask.export(adata, path, dataset_name="small", progress=False)
    add_graph(path, EDGES, N_CELLS)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ad.AnnData]:
    adata = small_anndata(n_cells=120)
    adata.obsm["X_3"] = np.random.default_rng(0).normal(size=(120, 3))
    target = tmp_path_factory.mktemp("exported") / "export"
    cellucid_dask.export(adata, target, dataset_name="small", progress=False)
    return target, adata
