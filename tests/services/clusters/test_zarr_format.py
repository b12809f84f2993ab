"""The format cellucid-zarr on a cluster: by every route the bytes of one thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client
from scipy import sparse

import cellucid_dask
from cellucid_dask.runtime.resources import Resources
from tests.helpers import SETTINGS, Tree, tree_bytes
from tests.services.clusters.cells import assert_nothing_runs, lazy

pytestmark = pytest.mark.xdist_group("cluster")

ZARR: dict[str, Any] = {**SETTINGS, "format": "cellucid-zarr"}


@pytest.fixture(scope="module")
def wide() -> Any:
    """Return a matrix whose values take several chunks."""
    random = np.random.default_rng(4)
    return sparse.random(6_000, 80, 0.4, format="csr", dtype=np.float32, rng=random)


@pytest.fixture(scope="module")
def whole(wide: Any, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    target = tmp_path_factory.mktemp("zarr") / "export"
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(lazy(wide), target, **ZARR)
    assert (target / "X/data/2").exists()
    return tree_bytes(target)


@pytest.mark.parametrize("route", ["direct", "scratch", "workers"])
def test_same_bytes_by_every_route(
    client: Client, wide: Any, whole: Tree, tmp_path: Path, route: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    adata = lazy(wide)
    if route == "direct":
        adata.X = da.from_array(wide.toarray(), chunks=(6_000, 11)).map_blocks(sparse.csc_matrix)
    monkeypatch.setattr(Resources, "shares_disk", lambda *_: route != "workers")
    assert cellucid_dask.plan(adata, format="cellucid-zarr").route == route
    cellucid_dask.export(adata, tmp_path / "out", **ZARR)
    assert tree_bytes(tmp_path / "out") == whole
    assert_nothing_runs(client)


def test_values_that_are_refused_end_the_run(client: Client, wide: Any, tmp_path: Path) -> None:
    matrix = wide.copy()
    matrix.data[[3, 70]] = np.nan
    with pytest.raises(cellucid_dask.ExportError, match="X holds 2 NaN or infinite values"):
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **ZARR)
    assert not (tmp_path / "out" / ".zmetadata").exists()
    assert_nothing_runs(client)
