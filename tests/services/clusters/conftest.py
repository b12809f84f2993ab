"""A small matrix, its export by one thread, and clusters of processes and threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, Tree, tree_bytes
from tests.services.clusters.cells import lazy
from tests.viewer_reader import check


@pytest.fixture(scope="module")
def matrix() -> Any:
    return sparse.random(
        6_000, 40, 0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(3)
    )


@pytest.fixture(scope="module")
def expected(matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The export by one thread."""
    target = tmp_path_factory.mktemp("expected") / "export"
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(lazy(matrix), target, **SETTINGS)
    assert check(target).genes == [str(gene) for gene in range(40)]
    return tree_bytes(target)


@pytest.fixture(scope="module")
def h5ad(matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("h5ad") / "cells.h5ad"
    adata = lazy(matrix)
    adata.X = matrix
    adata.write_h5ad(path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit="600MiB"
    ) as running:
        yield running


@pytest.fixture
def client(two_workers: LocalCluster) -> Iterator[Client]:
    with Client(two_workers) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def in_process() -> Iterator[Client]:
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
        ) as running,
        Client(running) as client,
    ):
        yield client
