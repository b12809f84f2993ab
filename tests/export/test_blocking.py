"""The same bytes of a larger matrix by any memory budget, chunks and route."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from tests.export.forms import OPTIONS, assert_same, bare, export
from tests.helpers import Tree, write_h5ad, write_zarr


@pytest.fixture(scope="module")
def larger() -> Any:
    """Return a matrix of a million stored values, with a gene in every cell and one in none."""
    random = np.random.default_rng(11)
    matrix = random.poisson(0.12, size=(140_000, 80)).astype(np.float32)
    matrix[:, 5], matrix[:, 6] = 1 + matrix[:, 5], 0
    return sparse.csr_matrix(matrix)


@pytest.fixture(scope="module")
def larger_sources(larger: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("larger")
    return {
        "csr": write_h5ad(bare(larger), folder / "csr.h5ad"),
        "csc": write_h5ad(bare(larger, form="csc"), folder / "csc.h5ad"),
        "dense": write_h5ad(bare(larger, form="dense"), folder / "dense.h5ad"),
        "rows": write_zarr(bare(larger, form="dense"), folder / "rows.zarr", chunks=(5_000, 80)),
    }


@pytest.fixture(scope="module")
def larger_tree(larger_sources: dict[str, Path]) -> dict[str, bytes]:
    return export(larger_sources["csr"], OPTIONS)


@pytest.mark.parametrize(
    "reading", list(product(["csr", "csc", "dense", "rows"], ["40MiB", "100MB", 2**29, None]))
)
def test_any_memory_budget(
    larger_sources: dict[str, Path],
    larger_tree: Tree,
    tmp_path: Path,
    reading: tuple[str, int | str | None],
) -> None:
    storage, memory_budget = reading
    options = {**OPTIONS, "memory_budget": memory_budget, "scratch": str(tmp_path)}

    with dask.config.set(num_workers=1):
        tree = export(larger_sources[storage], options)

    assert_same(tree, larger_tree)
    assert not list(tmp_path.iterdir()), "scratch is left behind"


@pytest.mark.parametrize(
    "chunks", [(140_000, 1), (3_000, 80), (9_999, 31), ((1, 139_999), (7, 73))]
)
@pytest.mark.parametrize("block", [np.asarray, sparse.csr_matrix])
def test_any_chunks(
    larger: Any,
    larger_tree: Tree,
    chunks: Any,
    block: Callable[[Any], Any],
) -> None:
    adata = bare(larger)
    adata.X = da.from_array(larger.toarray(), chunks=chunks).map_blocks(block)

    assert_same(export(adata, OPTIONS), larger_tree)


def test_lazy_change_of_the_matrix(larger: Any) -> None:
    adata = bare(larger)
    expected = export(bare(larger.log1p()), OPTIONS)
    blocks = da.from_array(larger.toarray(), chunks=(20_000, 80)).map_blocks(sparse.csr_matrix)
    adata.X = blocks.map_blocks(lambda block: block.log1p(), dtype=np.float32)

    assert_same(export(adata, OPTIONS), expected)


@pytest.mark.slow
def test_processes(larger_sources: dict[str, Path], larger_tree: Tree) -> None:
    with dask.config.set(scheduler="processes", num_workers=2):
        assert_same(export(larger_sources["csr"], OPTIONS), larger_tree)


@pytest.mark.parametrize(
    ("storage", "route"), [("csr", "scratch"), ("csc", "direct"), ("rows", "scratch")]
)
def test_routes(larger_sources: dict[str, Path], storage: str, route: str) -> None:
    with dask.config.set(num_workers=1):
        plan = cellucid_dask.plan(larger_sources[storage], memory_budget="20MiB")

    assert plan.route == route
    assert plan.peak_memory <= 20 * 2**20


def test_planning_writes_nothing(larger_sources: dict[str, Path], tmp_path: Path) -> None:
    cellucid_dask.plan(larger_sources["csr"], tmp_path / "export")

    assert not list(tmp_path.iterdir())
