"""The gene export: a plan becomes a graph of tasks, which is run.

read-rows -> scratch -> encode-genes -> assemble-manifest     (one scratch for all workers)
read-rows ------------> encode-genes -> assemble-manifest     (tiles stay with the workers)
                        encode-genes -> assemble-manifest     (a task reads all cells of its genes)
"""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed
from dask.typing import Key
from dask.utils import format_bytes

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.engine.gene_tasks import (
    GeneJob,
    encode_block,
    encode_stored,
    encode_tiles,
    split_block,
    store_block,
)
from cellucid_dask.engine.stored_tiles import StoredTile
from cellucid_dask.output import output_of
from cellucid_dask.planning import ExportPlan
from cellucid_dask.request.resolve import Request
from cellucid_dask.runtime.compute import run
from cellucid_dask.runtime.graph import GraphBuilder, TaskGraph
from cellucid_dask.runtime.progress import follow
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_log = logging.getLogger("cellucid_dask")


def export_genes(
    request: Request,
    plan: ExportPlan,
    columns: Array,
    target: Target,
    scratch: Scratch | None,
) -> GeneSummary:
    """Encode and put some genes on the active scheduler.

    Parameters
    ----------
    request
        What is exported.
    plan
        How the matrix is cut for these genes.
    columns
        int64: matrix columns of the genes, ascending.
    target
        Where their files go.
    scratch
        Where tiles wait; needed by route ``scratch``.
    """
    if request.matrix is None:
        raise ValueError("there is no matrix")
    job = GeneJob(
        target=target,
        plan=plan,
        columns=columns,
        writer=output_of(request.settings.format).genes(request, columns),
        scratch=scratch,
    )
    _log.info(
        "%d cells x %d genes by route %s in %d tasks, %s of memory at most",
        plan.shape[0], plan.n_genes, plan.route, plan.n_tasks, format_bytes(plan.peak_memory),
    )  # fmt: skip
    with follow("exporting", plan.n_genes, "genes", plan.n_reads, keep=True) as progress:
        summary: GeneSummary = run(build(request.matrix, job), progress, plan.n_workers)
    return summary


_STEPS = {
    "direct": (encode_block, "encode-genes"),
    "scratch": (store_block, "read-rows"),
    "workers": (split_block, "read-rows"),
}


def build(matrix: Matrix, job: GeneJob) -> TaskGraph:
    """Build the graph of a run, for which `job` has the plan."""
    tasks = GraphBuilder()
    key = tasks.share("job", job)
    groups = _first_steps(tasks, matrix, job, key)
    reads = [step for steps in groups.values() for step in steps]
    if job.plan.route == "direct":
        reads, encodes = [], reads
    elif job.plan.route == "scratch":
        encodes = _through_scratch(tasks, job, key, groups)
    else:
        encodes = _through_workers(tasks, job, key, groups)
    result = tasks.reduce("assemble-manifest", encodes, GeneSummary.joined)
    return tasks.build(result, reads, encodes)


def _first_steps(
    tasks: GraphBuilder, matrix: Matrix, job: GeneJob, key: str
) -> dict[int, list[Key]]:
    """Add the tasks that read the matrix; return their keys by gene block, a row block each."""
    plan = job.plan
    step, name = _STEPS[plan.route]
    filled = np.flatnonzero(np.diff(job.bounds)).tolist()
    rows = range(1 if plan.route == "direct" else len(plan.row_blocks))
    blocks = plan.row_blocks, plan.gene_blocks
    if matrix.fixed_blocks is None:
        source = tasks.share("matrix", matrix.prepare(blocks))
        return {
            j: [tasks.add(name, f"{i}.{j}", step, source, key, i, j) for i in rows] for j in filled
        }
    import dask.array as da  # noqa: PLC0415  slow to import, and only such a matrix needs it

    array = da.map_blocks(
        _on_block,
        matrix.dask(blocks), step, Delayed(key, {key: job}), name=tasks.name(name), dtype=object,
        meta=np.empty((0, 0), object),
    )  # fmt: skip
    tasks.include(array)
    return {j: [(array.name, i, j) for i in rows] for j in filled}


@dataclass(frozen=True)
class _Computed:
    """A block that Dask has computed already."""

    block: Any

    def read(self, _rows: slice, _columns: slice) -> Any:
        """Return the block."""
        return self.block


def _on_block(block: Any, step: Any, job: GeneJob, block_id: tuple[int, int]) -> Any:
    return step(_Computed(block), job, *block_id)


def _through_scratch(
    tasks: GraphBuilder, job: GeneJob, key: str, groups: dict[int, list[Key]]
) -> list[Key]:
    encodes: list[Key] = []
    for j, steps in groups.items():
        index = tasks.reduce(f"collect-tiles-{j}", steps, _join_lists)
        encodes += [
            tasks.add("encode-genes", start, encode_stored, key, index, start, stop)
            for start, stop in job.ranges(j)
        ]
    return encodes


def _through_workers(
    tasks: GraphBuilder, job: GeneJob, key: str, groups: dict[int, list[Key]]
) -> list[Key]:
    encodes: list[Key] = []
    for j, steps in groups.items():
        for number, (start, _) in enumerate(job.ranges(j)):
            parts = [
                tasks.add("tiles", f"{i}.{j}.{number}", operator.getitem, step, number)
                for i, step in enumerate(steps)
            ]
            encodes.append(tasks.add("encode-genes", start, encode_tiles, key, parts, start))
    return encodes


def _join_lists(lists: Sequence[list[StoredTile]]) -> list[StoredTile]:
    return list(itertools.chain.from_iterable(lists))
