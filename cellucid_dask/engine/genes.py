"""The gene export: a plan becomes a graph of tasks, which is run.

read-rows -> scratch -> encode-genes -> assemble-manifest     (one scratch for all workers)
read-rows ------------> encode-genes -> assemble-manifest     (tiles stay with the workers)
                        encode-genes -> assemble-manifest     (a task reads all cells of its genes)
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed
from dask.typing import Key
from dask.utils import format_bytes

from cellucid_dask.encode.counts import GeneCounts
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.engine.gene_tasks import (
    GeneJob,
    Stored,
    count_block,
    encode_block,
    encode_stored,
    encode_tiles,
    join_counts,
    place,
    split_block,
    store_block,
)
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
    writer = output_of(request.settings.format).genes(request, columns, target)
    job = GeneJob(target=target, plan=plan, columns=columns, writer=writer, scratch=scratch)
    _log.info(
        "%d cells x %d genes; route: %s, tasks: %d, memory: at most %s",
        plan.shape[0], plan.n_genes, plan.route, plan.n_tasks, format_bytes(plan.peak_memory),
    )  # fmt: skip
    graph = build(request.matrix, job)
    with follow("exporting", plan.n_genes, "genes", len(graph.reads), keep=True) as progress:
        summary: GeneSummary = run(graph, progress, plan.n_workers)
    return summary


def check_values(request: Request, plan: ExportPlan, columns: Array, target: Target) -> None:
    """Read some genes once, if their format does not hold all values, and refuse those.

    Parameters
    ----------
    request, plan, columns, target
        As in `export_genes`.

    Raises
    ------
    ExportError
        There are such values.
    """
    writer = output_of(request.settings.format).genes(request, columns, None)
    if request.matrix is None or not writer.counts:
        return
    job = GeneJob(target=target, plan=plan, columns=columns, writer=writer)
    tasks = GraphBuilder()
    steps = _Blocks(tasks, request.matrix, job).read(count_block, "count-values")
    of_blocks = [tasks.reduce(f"counts-{j}", keys, join_counts) for j, keys in steps.items()]
    result = tasks.add("counts", "all", GeneCounts.joined, of_blocks)
    graph = tasks.build(result, _all(steps), [])
    with follow("checking values", plan.n_genes, "genes", len(graph.reads)) as progress:
        counts: GeneCounts = run(graph, progress, plan.n_workers)
    writer.check(counts)


def build(matrix: Matrix, job: GeneJob) -> TaskGraph:
    """Build the graph of a run, for which `job` has the plan."""
    tasks = GraphBuilder()
    route = {"direct": _direct, "scratch": _through_scratch, "workers": _through_workers}
    reads, encodes = route[job.plan.route](_Blocks(tasks, matrix, job))
    result = tasks.reduce("assemble-manifest", encodes, GeneSummary.joined)
    return tasks.build(result, reads, encodes)


class _Blocks:
    """Adds the tasks that read the matrix, a block of it each.

    Parameters
    ----------
    tasks, matrix, job
        To which, of what, and how.

    Attributes
    ----------
    key
        Of the job.
    """

    def __init__(self, tasks: GraphBuilder, matrix: Matrix, job: GeneJob) -> None:
        self.tasks, self.job = tasks, job
        self.key = tasks.share("job", job)
        self._blocks = job.plan.row_blocks, job.plan.gene_blocks
        self._matrix, self._source = matrix, ""
        if matrix.fixed_blocks is None:
            self._source = tasks.share("matrix", matrix.prepare(self._blocks))

    def read(self, step: Any, name: str) -> dict[int, list[Key]]:
        """Add a step for each block; return their keys by gene block, a row block each."""
        job = self.job
        filled = np.flatnonzero(np.diff(job.bounds)).tolist()
        rows = range(1 if job.plan.route == "direct" else len(job.plan.row_blocks))
        if self._source:
            return {
                j: [
                    self.tasks.add(name, f"{i}.{j}", step, self._source, self.key, i, j)
                    for i in rows
                ]
                for j in filled
            }
        import dask.array as da  # noqa: PLC0415  slow to import, and only such a matrix needs it

        array = da.map_blocks(
            _on_block,
            self._matrix.dask(self._blocks), step, Delayed(self.key, {self.key: job}),
            name=self.tasks.name(name), dtype=object, meta=np.empty((0, 0), object),
        )  # fmt: skip
        self.tasks.include(array)
        return {j: [(array.name, i, j) for i in rows] for j in filled}

    def encode(self, genes: Sequence[int], writer: Key) -> list[Key]:
        """Add the tasks that read whole genes again and encode them with a writer of a task."""
        tasks = self.tasks
        if self._source:
            return [
                tasks.add("encode-genes", j, encode_block, self._source, self.key, 0, j, writer)
                for j in genes
            ]
        from dask.graph_manipulation import clone  # noqa: PLC0415  as above

        # with other keys, or all blocks would wait in memory for the writer
        array = clone(self._matrix.dask(self._blocks))
        tasks.include(array)
        return [
            tasks.add("encode-genes", j, _encode_computed, (array.name, 0, j), self.key, j, writer)
            for j in genes
        ]


@dataclass(frozen=True)
class _Computed:
    """A block that Dask has computed already."""

    block: Any

    def read(self, _rows: slice, _columns: slice) -> Any:
        """Return the block."""
        return self.block


def _on_block(block: Any, step: Any, job: GeneJob, block_id: tuple[int, int]) -> Any:
    return step(_Computed(block), job, *block_id)


def _encode_computed(block: Any, job: GeneJob, j: int, writer: Any) -> GeneSummary:
    return encode_block(_Computed(block), job, 0, j, writer)


_Keys = tuple[list[Key], list[Key]]  # of the tasks that read, and of those that encode


def _direct(blocks: _Blocks) -> _Keys:
    if not blocks.job.writer.counts:
        return [], _all(blocks.read(encode_block, "encode-genes"))
    counts = {j: steps[0] for j, steps in blocks.read(count_block, "count-values").items()}
    writer = blocks.tasks.add("place-values", 0, place, blocks.key, list(counts.values()))
    return list(counts.values()), blocks.encode(list(counts), writer)


def _through_scratch(blocks: _Blocks) -> _Keys:
    tasks, job, key = blocks.tasks, blocks.job, blocks.key
    groups = blocks.read(store_block, "read-rows")
    index = {
        j: tasks.reduce(f"collect-tiles-{j}", steps, Stored.joined) for j, steps in groups.items()
    }
    writer = None
    if job.writer.counts:
        counts = [tasks.add("counts", j, _counts_of, index[j]) for j in groups]
        writer = tasks.add("place-values", 0, place, key, counts)
    encodes: list[Key] = [
        tasks.add("encode-genes", start, encode_stored, key, index[j], start, stop, writer)
        for j in groups
        for start, stop in job.ranges(j)
    ]
    return _all(groups), encodes


def _all(groups: Mapping[int, list[Key]]) -> list[Key]:
    return [step for steps in groups.values() for step in steps]


def _counts_of(stored: Stored) -> GeneCounts:
    return stored.counts


def _through_workers(blocks: _Blocks) -> _Keys:
    tasks, job, key = blocks.tasks, blocks.job, blocks.key
    groups = blocks.read(split_block, "read-rows")

    def part(i: int, j: int, number: int) -> str:
        name = f"{i}.{j}.{number}"
        return tasks.add("tiles", name, operator.getitem, groups[j][i], number)

    writer = None
    if job.writer.counts:
        counts = []
        for j, steps in groups.items():
            parts = [part(i, j, len(job.ranges(j))) for i in range(len(steps))]
            counts.append(tasks.reduce(f"counts-{j}", parts, join_counts))
        writer = tasks.add("place-values", 0, place, key, counts)
    encodes: list[Key] = [
        tasks.add(
            "encode-genes", start, encode_tiles, key,
            [part(i, j, number) for i in range(len(steps))], start, writer,
        )
        for j, steps in groups.items()
        for number, (start, _) in enumerate(job.ranges(j))
    ]  # fmt: skip
    return _all(groups), encodes
