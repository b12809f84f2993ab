"""Graphs of atlases too large to keep here, from their layouts alone; no value is read.

``python -m tests.benchmarks.scale`` prints tasks, edges and the time to build them;
``--scheduler`` measures instead what a task costs the scheduler.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.core import get_dependencies
from dask.utils import format_bytes

from cellucid_dask.engine.gene_tasks import GeneJob
from cellucid_dask.engine.genes import build
from cellucid_dask.errors import RequestError
from cellucid_dask.output.compact_v1.genes import GeneFiles
from cellucid_dask.planning import ExportPlan, Layout, make_plan
from cellucid_dask.source.matrix import SparseMatrix
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.store.target import Target

GENES = 30_000
DENSITY = 0.06
CHUNK = 100_000  # values of a chunk of an h5ad, more or less
WORKERS, WORKER_MEMORY = 100, 4 * 2**30
CELLS = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Nothing:
    """An array that has a shape and no values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, selection: Any) -> Any:
        raise AssertionError(selection)


@dataclass(frozen=True)
class Figures:
    """What a graph is made of."""

    plan: ExportPlan
    n_tasks: int
    n_edges: int
    plan_seconds: float
    build_seconds: float
    nnz: int


def layout(n_cells: int, storage: str = "csr", density: float = DENSITY) -> tuple[Layout, Any]:
    """Return the layout of an evenly sparse matrix, and the matrix."""
    major, minor = (n_cells, GENES) if storage == "csr" else (GENES, n_cells)
    indptr = np.arange(major + 1, dtype=np.int64) * int(minor * density)
    values = Nothing((int(indptr[-1]),), np.dtype(np.float32))
    matrix = SparseMatrix(
        values, Nothing(values.shape, np.dtype(np.int32)), indptr, (n_cells, GENES),
        "csr" if storage == "csr" else "csc",
    )  # fmt: skip
    return Layout(
        shape=matrix.shape, dtype=matrix.dtype, storage=matrix.storage, columns=np.arange(GENES),
        value_nbytes=8, indptr=indptr, chunk=(CHUNK, 1),
    ), matrix  # fmt: skip


def measure(
    n_cells: int,
    storage: str = "csr",
    *,
    shared_disk: bool = True,
    n_workers: int = WORKERS,
    memory: int = WORKER_MEMORY,
) -> Figures:
    """Plan an export and build its graph."""
    shape, matrix = layout(n_cells, storage)
    begun = time.perf_counter()
    plan = make_plan(
        shape, bits=8, memory_budget=int(0.4 * memory) * n_workers,
        n_workers=n_workers, shared_disk=shared_disk,
    )  # fmt: skip
    planned = time.perf_counter()
    job = GeneJob(
        Target("memory://nowhere"), plan, np.arange(GENES),
        GeneFiles(
            np.arange(GENES), tuple(f"var/{gene}" for gene in range(GENES)), n_cells, 8, 6
        ),
        Scratch("/nowhere"),
    )  # fmt: skip
    graph = build(matrix, job).tasks
    edges = sum(len(get_dependencies(graph, key)) for key in graph)
    return Figures(
        plan, len(graph), edges, planned - begun, time.perf_counter() - planned,
        int(shape.indptr[-1]) if shape.indptr is not None else 0,
    )  # fmt: skip


def print_table() -> None:
    """Print a row a graph."""
    print(
        "| cells | stored values | stored | route | blocks read | encoding tasks | tasks | edges | "
        "memory a task | plan s | build s |\n|---:|---:|---|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    for n_cells in CELLS:
        for storage, shared in (("csr", True), ("csr", False), ("csc", True)):
            row = f"| {n_cells:,} | {n_cells * int(GENES * DENSITY):.1e} | {storage} | "
            try:
                found = measure(n_cells, storage, shared_disk=shared)
            except RequestError as error:
                print(f"{row}{'scratch' if shared else 'workers'}: refused. {error} |")
                continue
            plan = found.plan
            blocks = len(plan.row_blocks) * len(plan.gene_blocks)
            print(
                f"{row}{plan.route} | {blocks:,} | {len(plan.encode_blocks):,} | "
                f"{found.n_tasks:,} | {found.n_edges:,} | {format_bytes(plan.task_memory)} | "
                f"{found.plan_seconds:.1f} | {found.build_seconds:.1f} |"
            )


def print_scheduler_time(n_tasks: int, n_workers: int) -> None:
    """Measure what empty tasks cost when workers do nothing: that is the scheduler's time."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            processes=False, n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(int, range(n_workers)))
        begun = time.perf_counter()
        futures = client.map(lambda number: number, range(n_tasks))
        client.gather(futures)
        seconds = time.perf_counter() - begun
    print(
        f"{n_tasks:,} empty tasks on {n_workers} workers: {seconds:.1f} s, "
        f"{seconds / n_tasks * 1e3:.2f} ms a task"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scheduler", action="store_true")
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=20)
    chosen = parser.parse_args()
    if chosen.scheduler:
        print_scheduler_time(chosen.tasks, chosen.workers)
    else:
        print_table()
