"""Plans and task graphs of atlases of up to a hundred million cells stay small."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from cellucid_dask import RequestError
from cellucid_dask.engine.gene_tasks import GeneJob
from cellucid_dask.engine.genes import build
from cellucid_dask.output.compact_v1.genes import GeneFiles
from cellucid_dask.planning import ExportPlan, Layout, make_plan
from cellucid_dask.source.matrix import DenseMatrix
from cellucid_dask.store.target import Target
from tests.benchmarks.scale import Nothing, measure

MIB = 2**20


def plan_of(layout: Layout, budget: int, workers: int, **options: Any) -> ExportPlan:
    return make_plan(layout, bits=8, memory_budget=budget, n_workers=workers, **options)


def test_a_hundred_million_cells_are_planned_in_seconds() -> None:
    n_cells, n_genes = 100_000_000, 30_000
    layout = Layout(
        shape=(n_cells, n_genes), dtype=np.dtype("f4"), storage="csr",
        columns=np.arange(n_genes), value_nbytes=8, chunk=(100_000, 1),
        indptr=np.linspace(0, n_cells * 1800, n_cells + 1, dtype=np.int64),
    )  # fmt: skip
    start = time.perf_counter()
    plan = plan_of(layout, 100 * 4 * 1024 * MIB, 100)
    assert time.perf_counter() - start < 20
    assert plan.n_tasks < 100_000
    assert plan.peak_memory <= plan.memory_budget


@pytest.mark.parametrize("n_cells", [1_000_000, 10_000_000, 100_000_000])
@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_graphs_of_large_atlases_stay_small(n_cells: int, storage: str) -> None:
    found = measure(n_cells, storage)
    assert found.n_tasks < 100_000
    assert found.n_edges < 4 * found.n_tasks
    assert found.build_seconds < 60
    assert found.plan.peak_memory <= found.plan.memory_budget


def test_graph_of_a_dense_matrix_does_not_grow_with_its_cells() -> None:
    def graph_of(n_cells: int) -> Any:
        array = Nothing((n_cells, 2000), np.dtype(np.float32))
        layout = Layout(
            shape=array.shape, dtype=array.dtype, storage="dense", columns=np.arange(2000),
            value_nbytes=4, chunk=(10_000, 20),
        )  # fmt: skip
        plan = plan_of(layout, 4096 * MIB, 2)
        assert plan.route == "direct"
        assert len(plan.row_blocks) >= n_cells / 100_000, "nothing to grow by"
        job = GeneJob(
            Target("memory://nowhere"), plan, layout.columns,
            GeneFiles(
                layout.columns, tuple(f"var/{gene}" for gene in range(2000)), n_cells, 8, 6
            ),
        )  # fmt: skip
        return build(DenseMatrix(array), job).tasks

    small, large = (len(cloudpickle.dumps(graph_of(n))) for n in (100_000, 6_400_000))
    assert large < 2 * small


@pytest.mark.parametrize(
    "name", [path.stem for path in (Path(__file__).parents[1] / "benchmarks").glob("[!_]*.py")]
)
def test_benchmarks_import(name: str) -> None:
    importlib.import_module(f"tests.benchmarks.{name}")


def test_workers_that_share_no_disk_cannot_hold_everything() -> None:
    assert measure(1_000_000, shared_disk=False).n_tasks < 100_000
    with pytest.raises(RequestError, match=r"a scratch that every worker reaches"):
        measure(10_000_000, shared_disk=False)
