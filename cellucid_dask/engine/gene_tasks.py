"""The tasks of the gene export: what each reads, encodes and puts.

A gene is known by its matrix column; tasks count positions in the list of exported columns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from cellucid_dask.encode.counts import Counting, GeneCounts
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import SparseTile, Tile, tiles_of
from cellucid_dask.engine.resume import write_receipt
from cellucid_dask.engine.stored_tiles import StoredGenes, StoredTile, write_tiles
from cellucid_dask.output.base import GeneWriter
from cellucid_dask.planning import ExportPlan, split_by_cost
from cellucid_dask.runtime.supervise import final
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array


class Stored(NamedTuple):
    """Blocks in scratch: their tiles, and the counts of their values, if they were counted."""

    tiles: list[StoredTile]
    counts: GeneCounts

    @classmethod
    def joined(cls, parts: Sequence[Stored]) -> Stored:
        """Join the blocks of the same genes."""
        tiles = list(itertools.chain.from_iterable(part.tiles for part in parts))
        return Stored(tiles, join_counts([part.counts for part in parts]))


def join_counts(parts: Sequence[GeneCounts]) -> GeneCounts:
    """Add up the counts of the same genes in different cells."""
    return functools.reduce(GeneCounts.beside, parts)


class Reader(Protocol):
    """What a task reads its block of the matrix from."""

    def read(self, rows: slice, columns: slice) -> Any:
        """Read a region."""


@dataclass(frozen=True)
class GeneJob:
    """Settings shared by all tasks.

    Attributes
    ----------
    target
        Where files go.
    plan
        How the matrix is cut.
    columns
        int64: matrix columns to export, ascending.
    writer
        What is made of them.
    scratch
        Where tiles wait, on route ``scratch``.
    """

    target: Target
    plan: ExportPlan
    columns: Array
    writer: GeneWriter
    scratch: Scratch | None = None

    @property
    def tile_store(self) -> Scratch:
        """The scratch of a route that has one."""
        if self.scratch is None:
            raise ValueError(f"route {self.plan.route} has no scratch")
        return self.scratch

    @cached_property
    def row_edges(self) -> Array:
        """First cell of each row block, and the end."""
        return np.cumsum((0, *self.plan.row_blocks))

    @cached_property
    def gene_edges(self) -> Array:
        """First matrix column of each gene block, and the end."""
        return np.cumsum((0, *self.plan.gene_blocks))

    @cached_property
    def bounds(self) -> Array:
        """Position in `columns` of the first gene of each gene block, and the end."""
        return np.searchsorted(self.columns, self.gene_edges)

    def ranges(self, j: int) -> list[tuple[int, int]]:
        """Positions of the genes that each encode task takes of gene block `j`."""
        first, last = int(self.bounds[j]), int(self.bounds[j + 1])
        ends = np.cumsum(self.plan.encode_blocks)
        inner = ends[(ends > first) & (ends < last)].tolist()
        return list(itertools.pairwise([first, *inner, last]))

    def tiles(self, reader: Reader, i: int, j: int) -> Iterator[Tile]:
        """Read a block of the matrix and transpose it."""
        rows = slice(int(self.row_edges[i]), int(self.row_edges[i + 1]))
        genes = slice(int(self.gene_edges[j]), int(self.gene_edges[j + 1]))
        columns = self.columns[self.bounds[j] : self.bounds[j + 1]] - genes.start
        kept = None if len(columns) == genes.stop - genes.start else columns
        block = reader.read(rows, genes)
        tile_values, exact = self.plan.tile_values, self.writer.exact
        return tiles_of(block, rows.start, kept, tile_values=tile_values, exact=exact)

    def using(self, writer: GeneWriter | None) -> GeneJob:
        """Return the job with the writer that knows the counts, if there is one."""
        return self if writer is None else replace(self, writer=writer)

    def finish(self, parts: Iterable[GeneSummary], first: int) -> GeneSummary:
        """Leave a receipt for the genes of a task, once they are all in the target."""
        summary = GeneSummary.joined(list(parts))
        keys = self.writer.keys(first, first + len(summary.column))
        write_receipt(self.target, keys, summary)
        return summary


@final
def count_block(reader: Reader, job: GeneJob, i: int, j: int) -> GeneCounts:
    """Count the values of a block, on route ``direct`` of all cells of a gene block (task)."""
    counting = Counting(int(job.bounds[j + 1] - job.bounds[j]))
    for row_block in range(len(job.plan.row_blocks)) if job.plan.route == "direct" else [i]:
        for _tile in counting(job.tiles(reader, row_block, j)):
            pass
    return counting.counts


@final
def place(job: GeneJob, counts: Sequence[GeneCounts]) -> GeneWriter:
    """Return the writer that knows the counts of all gene blocks (task)."""
    return job.writer.placed(job.target, GeneCounts.joined(counts))


@final
def encode_block(
    reader: Reader, job: GeneJob, _: int, j: int, writer: GeneWriter | None = None
) -> GeneSummary:
    """Read all cells of a gene block, one row block after the other, and encode it (task)."""
    job = job.using(writer)
    tiles = [tile for i in range(len(job.plan.row_blocks)) for tile in job.tiles(reader, i, j)]
    first = int(job.bounds[j])
    return job.finish([job.writer.write(job.target, tiles, first)], first)


@final
def store_block(reader: Reader, job: GeneJob, i: int, j: int) -> Stored:
    """Read and transpose a block into scratch, and count its values if they must be (task)."""
    name = f"{i * len(job.plan.gene_blocks) + j}.tiles"
    first, end = int(job.bounds[j]), int(job.bounds[j + 1])
    tiles, counting = job.tiles(reader, i, j), Counting(end - first)
    if job.writer.counts:
        tiles = counting(tiles)
    return Stored(write_tiles(job.tile_store, name, tiles, first), counting.counts)


@final
def encode_stored(
    job: GeneJob, index: Stored, first: int, last: int, writer: GeneWriter | None = None
) -> GeneSummary:
    """Gather the genes at positions ``first ... last - 1`` from scratch and encode them (task)."""
    job, stored = job.using(writer), index.tiles
    mine = [tile for tile in stored if tile.first_gene <= first < tile.first_gene + tile.n_genes]
    genes = StoredGenes(job.tile_store, mine, first, last)

    def parts() -> Iterator[GeneSummary]:
        for start, stop in split_by_cost(genes.nbytes, job.plan.gather_memory):
            yield job.writer.write(job.target, genes.read(start, stop), first + start)

    return job.finish(parts(), first)


@final
def split_block(reader: Reader, job: GeneJob, i: int, j: int) -> list[list[Tile] | GeneCounts]:
    """Read and transpose a block, and cut it at the genes of the encode tasks (task).

    The last item is the counts of its values, if they must be counted.
    """
    first, end = int(job.bounds[j]), int(job.bounds[j + 1])
    counting = Counting(end - first)
    read = job.tiles(reader, i, j)
    tiles = list(counting(read) if job.writer.counts else read)
    parts: list[list[Tile] | GeneCounts] = [
        [_own(tile.genes(start - first, stop - first)) for tile in tiles]
        for start, stop in job.ranges(j)
    ]
    return [*parts, counting.counts]


def _own(tile: Tile) -> Tile:
    """Copy a sparse view, so that what travels does not hold the whole tile in memory."""
    if isinstance(tile, SparseTile):
        return replace(tile, cells=tile.cells.copy(), values=tile.values.copy())
    return tile


@final
def encode_tiles(
    job: GeneJob, blocks: Sequence[list[Tile]], first: int, writer: GeneWriter | None = None
) -> GeneSummary:
    """Encode the genes that the tiles of all row blocks share (task)."""
    job = job.using(writer)
    tiles = list(itertools.chain.from_iterable(blocks))
    return job.finish([job.writer.write(job.target, tiles, first)], first)
