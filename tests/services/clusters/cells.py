"""Cells in lazy blocks, and what a cluster must have forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
from distributed import Client
from scipy import sparse

IDENTITY = "dataset_identity.json"


def lazy(matrix: Any, block: Callable[[Any], Any] = sparse.csr_matrix) -> ad.AnnData:
    """Return the cells in twelve lazy blocks."""
    umap = np.random.default_rng(1).random((matrix.shape[0], 2), np.float32)
    adata = ad.AnnData(matrix, obsm={"X_umap": umap})
    rows = da.from_array(matrix.toarray(), chunks=(500, matrix.shape[1]))
    adata.X = rows.map_blocks(block, dtype=matrix.dtype, meta=sparse.csr_matrix((0, 0)))
    return adata


def assert_nothing_runs(client: Client) -> None:
    """The scheduler forgets what is cancelled a moment after it is."""
    until = time.monotonic() + 10
    while tasks := client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)):
        assert time.monotonic() < until, tasks[:5]
        time.sleep(0.05)
