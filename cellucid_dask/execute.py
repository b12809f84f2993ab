"""Running a plan: one Dask graph, on whatever scheduler is active.

read-rows -> transpose-rows -> scratch -> encode-genes -> assemble-manifest   (scratch)
read-rows --------------------------------> encode-genes -> assemble-manifest  (direct)
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed, delayed

from cellucid_dask.cluster import active_client, compute, final
from cellucid_dask.genes.encode import encode
from cellucid_dask.genes.parts import Array, Part, SparsePart, parts_of
from cellucid_dask.genes.summary import GeneSummary
from cellucid_dask.genes.vectors import gene_vectors
from cellucid_dask.planning import ExportPlan
from cellucid_dask.progress import Progress, Watch
from cellucid_dask.resume import write_receipt
from cellucid_dask.scratch import Scratch, StoredPart, read_indptr, read_parts
from cellucid_dask.target import Target

_FAN_IN = 64


@dataclass(frozen=True)
class GeneJob:
    """What every encoding task is told; the files are those of the genes in source order."""

    target: Target
    files: tuple[str, ...]
    n_cells: int
    bits: int | None
    level: int | None
    part_values: int
    gather_memory: int
    batch_memory: int

    def encode(self, parts: Sequence[Part], first: int) -> GeneSummary:
        """Encode and put the genes ``first ...`` of some parts."""
        found = gene_vectors(parts, self.n_cells, self.bits)
        n_genes = len(found.vectors)
        nbytes = np.zeros(n_genes, np.int64)
        md5 = np.zeros(n_genes, "S32")
        with self.target.writer() as out:
            for gene in range(n_genes):
                data = encode(found.vectors[gene], self.level)
                nbytes[gene] = len(data)
                md5[gene] = hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
                out.put(self.files[first + gene], data)
        genes = np.arange(first, first + n_genes)
        return GeneSummary(genes, found.lowest, found.highest, found.n_missing, nbytes, md5)

    def encode_in_batches(self, parts: Sequence[Part], first: int) -> Iterator[GeneSummary]:
        """Encode and put the genes ``first ...`` of some parts, as many at once as fit."""
        width = 4 if self.bits is None else self.bits // 8
        costs = _values_nbytes(parts) + self.n_cells * width
        for start, stop in _groups(costs, self.batch_memory):
            yield self.encode([part.genes(start, stop) for part in parts], first + start)

    def finish(self, batches: Iterable[GeneSummary]) -> GeneSummary:
        """Leave a receipt for the genes of a task, once they are all in the target."""
        summary = GeneSummary.joined(list(batches))
        write_receipt(self.target, [self.files[gene] for gene in summary.gene], summary)
        return summary


def _values_nbytes(parts: Sequence[Part]) -> Array:
    """Bytes of each gene's stored values."""
    nbytes = np.zeros(parts[0].n_genes, np.int64)
    for part in parts:
        if isinstance(part, SparsePart):
            nbytes += np.diff(part.indptr) * (part.cells.itemsize + part.values.itemsize)
        else:
            nbytes += part.n_cells * part.values.itemsize
    return nbytes


def _groups(costs: Array, most: int) -> Iterator[tuple[int, int]]:
    """Cut genes into groups that cost at most `most`, or are of one gene."""
    total = np.cumsum(costs)
    start, spent = 0, 0
    while start < len(total):
        stop = max(int(np.searchsorted(total, spent + most, side="right")), start + 1)
        yield start, stop
        start, spent = stop, int(total[stop - 1])


@final
def encode_block(job: GeneJob, block: Any, columns: Array | None, first: int) -> GeneSummary:
    """Encode a block that holds every cell of its genes (task, route direct)."""
    parts = list(parts_of(block, 0, columns, part_values=job.part_values))
    return job.finish(job.encode_in_batches(parts, first))


@final
def store_parts(
    job: GeneJob,
    scratch: Scratch,
    name: str,
    block: Any,
    first_cell: int,
    columns: Array | None,
    first_gene: int,
) -> list[StoredPart]:
    """Transpose a block into scratch (task, route scratch)."""
    parts = parts_of(block, first_cell, columns, part_values=job.part_values)
    return scratch.write(name, parts, first_gene)


@final
def encode_stored(
    job: GeneJob, scratch: Scratch, stored: Sequence[StoredPart], first: int, last: int
) -> GeneSummary:
    """Gather genes ``first ... last - 1`` from scratch and encode them (task)."""
    mine = [part for part in stored if part.first_gene <= first < part.first_gene + part.n_genes]
    indptrs = read_indptr(scratch, mine, first, last)
    nbytes = np.zeros(last - first, np.int64)
    for part, indptr in zip(mine, indptrs, strict=True):
        nbytes += part.gene_nbytes(indptr)
    return job.finish(
        summary
        for start, stop in _groups(nbytes, job.gather_memory)
        for summary in job.encode_in_batches(
            read_parts(
                scratch,
                mine,
                [indptr[start : stop + 1] for indptr in indptrs],
                first + start,
                first + stop,
            ),
            first + start,
        )
    )


@final
def split_parts(
    job: GeneJob, block: Any, first_cell: int, columns: Array | None, bounds: Sequence[int]
) -> list[list[Part]]:
    """Transpose a block and cut it at the genes `bounds` (task, route workers)."""
    parts = list(parts_of(block, first_cell, columns, part_values=job.part_values))
    return [
        [_own(part.genes(start, stop)) for part in parts]
        for start, stop in itertools.pairwise(bounds)
    ]


def _own(part: Part) -> Part:
    """Copy a sparse view, so that a piece that travels does not hold its whole part."""
    if isinstance(part, SparsePart):
        return SparsePart(
            part.first_cell, part.n_cells, part.indptr, part.cells.copy(), part.values.copy()
        )
    return part


@final
def encode_pieces(job: GeneJob, pieces: Sequence[list[Part]], first: int) -> GeneSummary:
    """Encode the genes that all pieces share (task, route workers)."""
    parts = [part for piece in pieces for part in piece]
    return job.finish(job.encode_in_batches(parts, first))


def run(
    plan: ExportPlan,
    array: Any,
    columns: Array,
    job: GeneJob,
    scratch: Scratch | None,
    progress: Progress,
) -> GeneSummary:
    """Run the plan on the active scheduler and return the summary of all genes.

    Parameters
    ----------
    array
        The matrix as a Dask array with the plan's blocks.
    columns
        The columns to export, ascending.
    job
        What every task is told.
    scratch
        Where parts wait; needed by route ``scratch``.
    progress
        Learns of tasks as they end.
    """
    whole, reads, encodes = build(plan, array, columns, job, scratch)
    client = active_client()
    if client is not None:
        result: GeneSummary = compute(client, whole, reads, encodes, progress)
        return result
    with Watch(progress, reads, encodes), _pool(plan.n_workers):
        (result,) = dask.compute(whole)
    return result


def build(
    plan: ExportPlan, array: Any, columns: Array, job: GeneJob, scratch: Scratch | None
) -> tuple[Delayed, list[Delayed], list[Delayed]]:
    """Build the graph of a run: its end, the tasks that end its reading, and its encoding."""
    token = dask.base.tokenize(array.name, columns, job.files, job.target.url)[:12]
    job_key = delayed(job, name=f"job-{token}", pure=False)
    reads: list[Delayed] = []
    if plan.route == "direct":
        encodes = list(_direct(array, columns, job_key, token))
    elif plan.route == "scratch":
        encodes = list(_through_scratch(plan, array, columns, job_key, scratch, token, reads))
    else:
        encodes = list(_through_workers(plan, array, columns, job_key, token, reads))
    whole = _reduce(encodes, GeneSummary.joined, f"assemble-manifest-{token}")
    return whole, reads, encodes


@contextmanager
def _pool(n_workers: int) -> Iterator[None]:
    """Threads of our own for the local scheduler: when they end, so have all their tasks."""
    if dask.config.get("scheduler", None) in {None, "threads", "threading"}:
        with ThreadPoolExecutor(n_workers) as pool, dask.config.set(pool=pool):
            yield
    else:
        yield


def _blocks(array: Any, columns: Array) -> Iterator[tuple[int, int, Delayed, int, Any, int]]:
    """Blocks with genes to export: number, first cell, block, first gene, columns, genes."""
    rows = np.cumsum((0, *array.chunks[0]))
    edges = np.cumsum((0, *array.chunks[1]))
    blocks = array.to_delayed()
    for j, (left, right) in enumerate(itertools.pairwise(edges)):
        first, last = np.searchsorted(columns, (left, right))
        if first == last:
            continue
        kept = None if last - first == right - left else columns[first:last] - left
        for i in range(len(rows) - 1):
            number = i * (len(edges) - 1) + j
            yield number, int(rows[i]), blocks[i, j], int(first), kept, int(last - first)


def _direct(array: Any, columns: Array, job: Delayed, token: str) -> Iterator[Delayed]:
    for number, _, block, first, kept, _ in _blocks(array, columns):
        yield delayed(encode_block, pure=False)(
            job, block, kept, first, dask_key_name=f"encode-genes-{token}-{number}"
        )


def _through_scratch(
    plan: ExportPlan, array: Any, columns: Array, job: Delayed, scratch: Any, token: str,
    reads: list[Delayed],
) -> Iterator[Delayed]:  # fmt: skip
    by_genes: dict[tuple[int, int], list[Delayed]] = {}
    for number, first_cell, block, first, kept, count in _blocks(array, columns):
        stored = delayed(store_parts, pure=False)(
            job, scratch, f"{number}.parts", block, first_cell, kept, first,
            dask_key_name=f"transpose-rows-{token}-{number}",
        )  # fmt: skip
        reads.append(stored)
        by_genes.setdefault((first, count), []).append(stored)
    for group, ((first, count), stored) in enumerate(by_genes.items()):
        index = _reduce(stored, _chain, f"collect-parts-{token}-{group}")
        for start, stop in _ranges(plan.encode_blocks, first, first + count):
            yield delayed(encode_stored, pure=False)(
                job, scratch, index, start, stop, dask_key_name=f"encode-genes-{token}-{start}"
            )


def _through_workers(
    plan: ExportPlan, array: Any, columns: Array, job: Delayed, token: str, reads: list[Delayed]
) -> Iterator[Delayed]:
    pieces: dict[tuple[int, int], list[Delayed]] = {}
    for number, first_cell, block, first, kept, count in _blocks(array, columns):
        ranges = list(_ranges(plan.encode_blocks, first, first + count))
        bounds = [start - first for start, _ in ranges] + [count]
        split = delayed(split_parts, pure=False, nout=len(ranges))(
            job, block, first_cell, kept, bounds, dask_key_name=f"transpose-rows-{token}-{number}"
        )
        reads.append(split)
        for each, piece in zip(ranges, split, strict=True):
            pieces.setdefault(each, []).append(piece)
    for (start, _), held in pieces.items():
        yield delayed(encode_pieces, pure=False)(
            job, held, start, dask_key_name=f"encode-genes-{token}-{start}"
        )


def _ranges(sizes: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges of the encoding blocks, cut at the genes of one column block."""
    ends = np.cumsum(sizes)
    inner = [int(end) for end in ends if first < end < last]
    yield from itertools.pairwise([first, *inner, last])


def _chain(lists: Sequence[list[StoredPart]]) -> list[StoredPart]:
    return list(itertools.chain.from_iterable(lists))


def _reduce(tasks: Sequence[Delayed], join: Callable[[Any], Any], name: str) -> Delayed:
    """Join the results of tasks as a tree, so that no task waits for all of them at once."""
    level = 0
    while True:
        tasks = [
            delayed(join, pure=False)(
                list(tasks[start : start + _FAN_IN]), dask_key_name=f"{name}-{level}-{start}"
            )
            for start in range(0, len(tasks), _FAN_IN)
        ]
        if len(tasks) == 1:
            return tasks[0]
        level += 1
