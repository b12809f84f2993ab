"""Running a plan: what its tasks do, and the graph that they make.

read-rows -> scratch -> encode-genes -> assemble-manifest     (one scratch for all workers)
read-rows ------------> encode-genes -> assemble-manifest     (tiles stay with the workers)
                        encode-genes -> assemble-manifest     (genes are read one by one)
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellucid_dask.display import size
from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.gene_vectors import gene_vectors
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import SparseTile, Tile, tiles_of
from cellucid_dask.engine.resume import write_receipt
from cellucid_dask.engine.stored_tiles import StoredTile, read_indptr, read_tiles, write_tiles
from cellucid_dask.planning import ExportPlan, split_by_cost
from cellucid_dask.request.resolve import Request
from cellucid_dask.runtime.compute import run
from cellucid_dask.runtime.graph import Builder, Work
from cellucid_dask.runtime.progress import Progress, follow
from cellucid_dask.runtime.supervise import final
from cellucid_dask.source.matrix import DenseMatrix, Matrix, slices
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Sizes

_log = logging.getLogger("cellucid_dask")


@dataclass(frozen=True)
class GeneJob:
    """What every encoding task is told; the files are those of the genes in source order."""

    target: Target
    files: tuple[str, ...]
    n_cells: int
    bits: int | None
    level: int | None
    tile_values: int
    gather_memory: int
    batch_memory: int

    def encode(self, tiles: Sequence[Tile], first: int) -> GeneSummary:
        """Encode and put the genes ``first ...`` of some tiles."""
        found = gene_vectors(tiles, self.n_cells, self.bits)
        n_genes = len(found.vectors)
        nbytes = np.zeros(n_genes, np.int64)
        md5 = np.zeros(n_genes, "S32")
        with self.target.writer() as out:
            for gene in range(n_genes):
                data = compress(found.vectors[gene], self.level)
                nbytes[gene] = len(data)
                if not self.target.is_local:  # a store tells it when the run is resumed
                    md5[gene] = hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
                out.put(self.files[first + gene], data)
        genes = np.arange(first, first + n_genes)
        return GeneSummary(genes, found.lowest, found.highest, found.n_missing, nbytes, md5)

    def encode_in_batches(self, tiles: Sequence[Tile], first: int) -> Iterator[GeneSummary]:
        """Encode and put the genes ``first ...`` of some tiles, as many at once as fit."""
        width = 4 if self.bits is None else self.bits // 8
        costs = sum((tile.gene_nbytes for tile in tiles), np.array(self.n_cells * width))
        for start, stop in split_by_cost(costs, self.batch_memory):
            yield self.encode([tile.genes(start, stop) for tile in tiles], first + start)

    def finish(self, batches: Iterable[GeneSummary]) -> GeneSummary:
        """Leave a receipt for the genes of a task, once they are all in the target."""
        summary = GeneSummary.joined(list(batches))
        write_receipt(self.target, [self.files[gene] for gene in summary.gene], summary)
        return summary


@final
def transpose(job: GeneJob, block: Any, first_cell: int, columns: Array | None) -> list[Tile]:
    """Transpose a block in memory (a step of a task, route direct)."""
    return list(tiles_of(block, first_cell, columns, tile_values=job.tile_values))


@final
def read_transposed(
    job: GeneJob, matrix: DenseMatrix, rows: Sizes, columns: slice, kept: Array | None
) -> list[Tile]:
    """Read some genes `rows` cells at a time and transpose them (a step of a task, route direct).

    A matrix of millions of cells has thousands of such blocks: in a graph each takes 2 kB.
    """
    return [
        tile
        for cells in slices(rows)
        for tile in tiles_of(
            matrix.read(cells, columns), cells.start, kept, tile_values=job.tile_values
        )
    ]


@final
def store_tiles(
    job: GeneJob,
    scratch: Scratch,
    name: str,
    block: Any,
    first_cell: int,
    columns: Array | None,
    first_gene: int,
) -> list[StoredTile]:
    """Transpose a block into scratch (task, route scratch)."""
    tiles = tiles_of(block, first_cell, columns, tile_values=job.tile_values)
    return write_tiles(scratch, name, tiles, first_gene)


@final
def encode_stored(
    job: GeneJob, scratch: Scratch, stored: Sequence[StoredTile], first: int, last: int
) -> GeneSummary:
    """Gather genes ``first ... last - 1`` from scratch and encode them (task)."""
    mine = [tile for tile in stored if tile.first_gene <= first < tile.first_gene + tile.n_genes]
    indptrs = read_indptr(scratch, mine, first, last)
    nbytes = np.zeros(last - first, np.int64)
    for tile, indptr in zip(mine, indptrs, strict=True):
        nbytes += tile.gene_nbytes(indptr)
    return job.finish(
        summary
        for start, stop in split_by_cost(nbytes, job.gather_memory)
        for summary in job.encode_in_batches(
            read_tiles(
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
def split_tiles(
    job: GeneJob, block: Any, first_cell: int, columns: Array | None, bounds: Sequence[int]
) -> list[list[Tile]]:
    """Transpose a block and cut it at the genes `bounds` (task, route workers)."""
    tiles = list(tiles_of(block, first_cell, columns, tile_values=job.tile_values))
    return [
        [_own(tile.genes(start, stop)) for tile in tiles]
        for start, stop in itertools.pairwise(bounds)
    ]


def _own(tile: Tile) -> Tile:
    """Copy a sparse view, so that a tile that travels does not hold its whole tile."""
    if isinstance(tile, SparseTile):
        return SparseTile(
            tile.first_cell, tile.n_cells, tile.indptr, tile.cells.copy(), tile.values.copy()
        )
    return tile


@final
def encode_tiles(job: GeneJob, tiles_of_blocks: Sequence[list[Tile]], first: int) -> GeneSummary:
    """Encode the genes that all tiles_of_blocks share (task, routes direct and workers)."""
    tiles = [tile for tiles in tiles_of_blocks for tile in tiles]
    return job.finish(job.encode_in_batches(tiles, first))


def run_genes(
    plan: ExportPlan,
    matrix: Matrix,
    columns: Array,
    job: GeneJob,
    scratch: Scratch | None,
    progress: Progress,
) -> GeneSummary:
    """Run the plan on the active scheduler and return the summary of all genes.

    Parameters
    ----------
    matrix
        What is exported.
    columns
        The columns to export, ascending.
    job
        What every task is told.
    scratch
        Where tiles wait; needed by route ``scratch``.
    progress
        Learns of tasks as they end.
    """
    work = build(plan, matrix, columns, job, scratch)
    summary: GeneSummary = run(work, progress, plan.n_workers)
    return summary


def build(
    plan: ExportPlan, matrix: Matrix, columns: Array, job: GeneJob, scratch: Scratch | None
) -> Work:
    """Build the graph of a run."""
    tasks = Builder({"job": job, "scratch": scratch, "matrix": matrix})
    if plan.route == "direct" and isinstance(matrix, DenseMatrix):
        reads, encodes = _direct_by_slices(tasks, plan, columns)
    else:
        tasks.read(matrix.dask((plan.row_blocks, plan.gene_blocks)))
        routes = {"direct": _direct, "scratch": _through_scratch, "workers": _through_workers}
        reads, encodes = routes[plan.route](tasks, plan, columns)
    whole = tasks.reduce("assemble-manifest", encodes, GeneSummary.joined)
    return tasks.work(whole, reads, encodes)


def _chosen(plan: ExportPlan, columns: Array) -> Iterator[tuple[int, slice, int, Any, int]]:
    """Gene blocks with genes to export: number, columns, first gene, which columns, genes."""
    for number, block in enumerate(slices(plan.gene_blocks)):
        first, last = np.searchsorted(columns, (block.start, block.stop))
        if first < last:
            whole = last - first == block.stop - block.start
            kept = None if whole else columns[first:last] - block.start
            yield number, block, int(first), kept, int(last - first)


def _blocks(
    tasks: Builder, plan: ExportPlan, columns: Array
) -> Iterator[tuple[int, int, Any, int, Any, int]]:
    """Blocks with genes to export: number, first cell, task, first gene, columns, genes."""
    for j, _, first, kept, count in _chosen(plan, columns):
        for i, cells in enumerate(slices(plan.row_blocks)):
            number = i * len(plan.gene_blocks) + j
            yield number, cells.start, tasks.block(i, j), first, kept, count


_Keys = tuple[list[str], list[str]]  # of the tasks that read, and of those that encode


def _direct(tasks: Builder, plan: ExportPlan, columns: Array) -> _Keys:
    job = tasks.shared("job")
    tiles_of_blocks: dict[int, list[Any]] = {}
    for _, first_cell, block, first, kept, _ in _blocks(tasks, plan, columns):
        tiles_of_blocks.setdefault(first, []).append((transpose, job, block, first_cell, kept))
    return [], [
        tasks.add("encode-genes", first, encode_tiles, job, steps, first)
        for first, steps in tiles_of_blocks.items()
    ]


def _direct_by_slices(tasks: Builder, plan: ExportPlan, columns: Array) -> _Keys:
    job, matrix = tasks.shared("job"), tasks.shared("matrix")
    return [], [
        tasks.add(
            "encode-genes", first, encode_tiles, job,
            [(read_transposed, job, matrix, plan.row_blocks, block, kept)], first,
        )
        for _, block, first, kept, _ in _chosen(plan, columns)
    ]  # fmt: skip


def _through_scratch(tasks: Builder, plan: ExportPlan, columns: Array) -> _Keys:
    told = tasks.shared("job"), tasks.shared("scratch")
    reads, encodes = [], []
    by_genes: dict[tuple[int, int], list[str]] = {}
    for number, first_cell, block, first, kept, count in _blocks(tasks, plan, columns):
        stored = tasks.add(
            "read-rows", number, store_tiles, *told, f"{number}.tiles", block, first_cell, kept,
            first,
        )  # fmt: skip
        by_genes.setdefault((first, count), []).append(stored)
        reads.append(stored)
    for group, ((first, count), blocks) in enumerate(by_genes.items()):
        index = tasks.reduce(f"collect-tiles-{group}", blocks, _join_lists)
        encodes += [
            tasks.add("encode-genes", start, encode_stored, *told, index, start, stop)
            for start, stop in _ranges(plan.encode_blocks, first, first + count)
        ]
    return reads, encodes


def _through_workers(tasks: Builder, plan: ExportPlan, columns: Array) -> _Keys:
    job = tasks.shared("job")
    reads = []
    tiles_of_blocks: dict[tuple[int, int], list[str]] = {}
    for number, first_cell, block, first, kept, count in _blocks(tasks, plan, columns):
        ranges = list(_ranges(plan.encode_blocks, first, first + count))
        bounds = [start - first for start, _ in ranges] + [count]
        split = tasks.add("read-rows", number, split_tiles, job, block, first_cell, kept, bounds)
        reads.append(split)
        for each, (start, stop) in enumerate(ranges):
            tiles = tasks.add("tiles", f"{number}.{each}", operator.getitem, split, each)
            tiles_of_blocks.setdefault((start, stop), []).append(tiles)
    return reads, [
        tasks.add("encode-genes", start, encode_tiles, job, held, start)
        for (start, _), held in tiles_of_blocks.items()
    ]


def _ranges(sizes: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges of the encoding blocks, cut at the genes of one column block."""
    ends = np.cumsum(sizes)
    inner = [int(end) for end in ends if first < end < last]
    yield from itertools.pairwise([first, *inner, last])


def _join_lists(lists: Sequence[list[StoredTile]]) -> list[StoredTile]:
    return list(itertools.chain.from_iterable(lists))


def export_genes(
    request: Request, genes: Array, target: Target, scratch: Scratch | None
) -> GeneSummary:
    """Encode and put some genes, by number in the order of the source."""
    plan, matrix, settings = request.plan, request.matrix, request.settings
    if plan is None or matrix is None:
        return GeneSummary.empty()
    job = GeneJob(
        target=target,
        files=tuple(request.gene_files[gene] for gene in genes),
        n_cells=request.source.n_cells,
        bits=settings.var_quantization,
        level=settings.compression,
        tile_values=plan.tile_values,
        gather_memory=plan.gather_memory,
        batch_memory=plan.batch_memory,
    )
    _log.info(
        "%d cells x %d genes by route %s in %d tasks, %s of memory at most",
        plan.shape[0], plan.n_genes, plan.route, plan.n_tasks, size(plan.peak_memory),
    )  # fmt: skip
    with follow(plan.n_reads, plan.n_genes, shown=settings.progress) as progress:
        summary = run_genes(plan, matrix, request.columns[genes], job, scratch, progress)
    return replace(summary, gene=genes[summary.gene])
