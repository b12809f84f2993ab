"""Running a plan: one Dask graph, on whatever scheduler is active.

read-rows -> transpose-rows -> scratch -> encode-genes -> assemble-manifest   (scratch)
read-rows --------------------------------> encode-genes -> assemble-manifest  (direct)
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask
import dask.threaded
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

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
                if not self.target.is_local:  # a store tells it when the run is resumed
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


@dataclass(frozen=True)
class Work:
    """The graph of a run, and the keys in it that matter to who runs it.

    Attributes
    ----------
    graph
        The matrix's graph and a layer of ours on it.
    whole
        Key of the summary of all genes.
    reads, encodes
        Keys of the tasks that end the pass over the cells, and that put genes.
    """

    graph: HighLevelGraph
    whole: str
    reads: tuple[str, ...]
    encodes: tuple[str, ...]


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
    work = build(plan, array, columns, job, scratch)
    client = active_client()
    if client is not None:
        result: GeneSummary = compute(client, work, progress)
        return result
    with Watch(progress, work.reads, work.encodes), _pool(plan.n_workers):
        (result,) = dask.compute(Delayed(work.whole, dict(work.graph)))
    return result


def build(
    plan: ExportPlan, array: Any, columns: Array, job: GeneJob, scratch: Scratch | None
) -> Work:
    """Build the graph of a run, as one layer: chained delayed calls would take quadratic time."""
    (array,) = dask.optimize(array)
    token = dask.base.tokenize(array.name, columns, job.files, job.target.url)[:12]
    layer = _Layer(token, {f"job-{token}": job, f"scratch-{token}": scratch})
    if plan.route == "direct":
        encodes = tuple(_direct(layer, array, columns))
    elif plan.route == "scratch":
        encodes = tuple(_through_scratch(layer, plan, array, columns))
    else:
        encodes = tuple(_through_workers(layer, plan, array, columns))
    whole = layer.reduce(encodes, GeneSummary.joined, "assemble-manifest")
    name = f"export-{token}"
    graph = HighLevelGraph.from_collections(name, layer.tasks, dependencies=[array])
    reads = tuple(layer.reads)
    return Work(graph.cull([whole]), whole, reads, encodes)


@dataclass(frozen=True)
class _Layer:
    """Tasks by key, as they are added."""

    token: str
    tasks: dict[Key, Any]

    def add(self, name: str, function: Callable[..., Any], *args: Any) -> str:
        """Add a task; strings and tuples among `args` that are keys stand for results."""
        kind, _, number = name.rpartition("-")
        key = f"{kind}-{self.token}-{number}"
        self.tasks[key] = (function, *args)
        return key

    @property
    def reads(self) -> list[str]:
        """Keys of the tasks that end the pass over the cells."""
        return [key for key in map(str, self.tasks) if key.startswith("transpose-rows-")]

    def job(self, name: str, function: Callable[..., Any], *args: Any) -> str:
        """Add a task that is told the job."""
        return self.add(name, function, f"job-{self.token}", *args)

    @property
    def scratch(self) -> str:
        """Key of the scratch."""
        return f"scratch-{self.token}"

    def reduce(self, keys: Sequence[str], join: Callable[[Any], Any], name: str) -> str:
        """Join the results of tasks as a tree: no task waits for all of them at once."""
        level = 0
        while True:
            keys = [
                self.add(f"{name}-{level}.{start}", join, list(keys[start : start + _FAN_IN]))
                for start in range(0, len(keys), _FAN_IN)
            ]
            if len(keys) == 1:
                return keys[0]
            level += 1


@contextmanager
def _pool(n_workers: int) -> Iterator[None]:
    """Threads of our own for the local scheduler: when they end, so have all their tasks.

    The scheduler is given as a function, for Dask would import distributed to look up a name.
    """
    if dask.config.get("scheduler", None) in {None, "threads", "threading"}:
        get = dask.threaded.get
        with ThreadPoolExecutor(n_workers) as pool, dask.config.set(pool=pool, scheduler=get):
            yield
    else:
        yield


def _blocks(array: Any, columns: Array) -> Iterator[tuple[int, int, Any, int, Any, int]]:
    """Blocks with genes to export: number, first cell, key, first gene, columns, genes."""
    rows = np.cumsum((0, *array.chunks[0]))
    edges = np.cumsum((0, *array.chunks[1]))
    for j, (left, right) in enumerate(itertools.pairwise(edges)):
        first, last = np.searchsorted(columns, (left, right))
        if first == last:
            continue
        kept = None if last - first == right - left else columns[first:last] - left
        for i in range(len(rows) - 1):
            number, key = i * (len(edges) - 1) + j, (array.name, i, j)
            yield number, int(rows[i]), key, int(first), kept, int(last - first)


def _direct(layer: _Layer, array: Any, columns: Array) -> Iterator[str]:
    for number, _, block, first, kept, _ in _blocks(array, columns):
        yield layer.job(f"encode-genes-{number}", encode_block, block, kept, first)


def _through_scratch(layer: _Layer, plan: ExportPlan, array: Any, columns: Array) -> Iterator[str]:
    by_genes: dict[tuple[int, int], list[str]] = {}
    for number, first_cell, block, first, kept, count in _blocks(array, columns):
        stored = layer.job(
            f"transpose-rows-{number}", store_parts, layer.scratch, f"{number}.parts", block,
            first_cell, kept, first,
        )  # fmt: skip
        by_genes.setdefault((first, count), []).append(stored)
    for group, ((first, count), blocks) in enumerate(by_genes.items()):
        index = layer.reduce(blocks, _chain, f"collect-parts-{group}")
        for start, stop in _ranges(plan.encode_blocks, first, first + count):
            yield layer.job(
                f"encode-genes-{start}", encode_stored, layer.scratch, index, start, stop
            )


def _through_workers(layer: _Layer, plan: ExportPlan, array: Any, columns: Array) -> Iterator[str]:
    pieces: dict[tuple[int, int], list[str]] = {}
    for number, first_cell, block, first, kept, count in _blocks(array, columns):
        ranges = list(_ranges(plan.encode_blocks, first, first + count))
        bounds = [start - first for start, _ in ranges] + [count]
        split = layer.job(f"transpose-rows-{number}", split_parts, block, first_cell, kept, bounds)
        for each, (start, stop) in enumerate(ranges):
            piece = layer.add(f"piece-{number}.{each}", operator.getitem, split, each)
            pieces.setdefault((start, stop), []).append(piece)
    for (start, _), held in pieces.items():
        yield layer.job(f"encode-genes-{start}", encode_pieces, held, start)


def _ranges(sizes: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges of the encoding blocks, cut at the genes of one column block."""
    ends = np.cumsum(sizes)
    inner = [int(end) for end in ends if first < end < last]
    yield from itertools.pairwise([first, *inner, last])


def _chain(lists: Sequence[list[StoredPart]]) -> list[StoredPart]:
    return list(itertools.chain.from_iterable(lists))
