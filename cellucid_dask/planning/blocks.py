"""Cutting a matrix into the blocks that it is read in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cellucid_dask.encode.tiles import TILE_CELLS, value_dtype
from cellucid_dask.types import Array, Sizes

# Larger reads than this gain nothing, unless a tile is larger.
_READ_BYTES = 16 * 2**20
_MOST_BLOCKS = 20_000
# Of a dense matrix that is read gene by gene: values of a block, and bytes of the genes of a
# task, were no value zero. Most are, so a task holds far less; but the same for any number of
# cells, until they make the genes that come with one read larger than this.
_BLOCK_VALUES = 2**18
_GENES_BYTES = 96 * 2**20
# Tasks for each worker, so that all end at about the same time.
_TASKS_EACH = 4
# A tile of this many values is transposed in cache ...
_TILE_VALUES = 2**19
# ... but each gene should find some in every tile: gathering many scraps takes longer.
_VALUES_OF_A_GENE = 100
# Bytes a value takes while its tile is transposed: indices, values, and both sorted.
_TILE_BYTES = 26


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What planning knows of a matrix.

    Attributes
    ----------
    shape, dtype, storage
        As the source has them.
    columns
        The genes to export, ascending.
    indptr
        Of a sparse matrix that is read by slices: int, (n_major + 1,).
    chunk
        Rows and columns that come with one read of a dense matrix; stored values of a
        sparse one (first entry).
    value_nbytes
        Bytes of a stored value, with its index if sparse.
    row_major
        Whether a dense matrix is cheaper to read along rows.
    fixed_blocks
        Block sizes of a Dask array, which cannot be chosen.
    work_nbytes
        Bytes that a value takes besides while it is changed on its way.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    storage: Literal["csr", "csc", "dense"]
    columns: Array
    value_nbytes: int
    indptr: Array | None = None
    chunk: tuple[int, int] = (1, 1)
    row_major: bool = True
    fixed_blocks: tuple[Sizes, Sizes] | None = None
    work_nbytes: int = 0

    @property
    def n_selected(self) -> int:
        """How many genes are exported."""
        return len(self.columns)

    @property
    def nnz(self) -> int | None:
        """Stored values; ``None`` when only reading would tell."""
        if self.storage == "dense":
            return self.shape[0] * self.shape[1]
        return None if self.indptr is None else int(self.indptr[-1])


@dataclass(frozen=True, kw_only=True)
class Blocking:
    """The blocks of a matrix.

    Attributes
    ----------
    direct
        Whether a task takes every cell of some genes, in one block or one after the other.
    rows, columns
        Sizes of the blocks.
    memory
        Bytes that the largest takes while it is read and transposed.
    tile_values
        Stored values of a tile.
    """

    direct: bool
    rows: Sizes
    columns: Sizes
    memory: int
    tile_values: int


def choose_blocks(layout: Layout, room: int, n_workers: int) -> Blocking:
    """Choose blocks that each of the workers can read and transpose in `room` bytes, if any can."""
    if layout.fixed_blocks is not None:
        return _fixed(layout)
    return _dense(layout, room, n_workers) if layout.storage == "dense" else _sparse(layout, room)


def split_evenly(total: int, width: int) -> Sizes:
    """Cut `total` into blocks of `width`; the last is what remains."""
    return tuple(min(width, total - start) for start in range(0, total, width))


def _fixed(layout: Layout) -> Blocking:
    rows, columns = layout.fixed_blocks or ((), ())
    values = max(rows, default=0) * max(columns, default=0)
    # how much a sparse block holds only reading would tell
    memory = (
        values * (layout.value_nbytes + 4 + layout.work_nbytes) if layout.storage == "dense" else 0
    )
    return Blocking(
        direct=len(rows) == 1, rows=rows, columns=columns, memory=memory,
        tile_values=_tile_values(layout, 2**31),
    )  # fmt: skip


def _tile_values(layout: Layout, room: int) -> int:
    wanted = max(_TILE_VALUES, _VALUES_OF_A_GENE * layout.n_selected)
    return max(min(wanted, room // (_TILE_BYTES + layout.value_nbytes)), 2**14)


def _sparse(layout: Layout, room: int) -> Blocking:
    n_cells, n_genes = layout.shape
    indptr = np.asarray(layout.indptr)
    rim = 2 * layout.chunk[0] * layout.value_nbytes  # of the first chunk and of the last
    tile = _tile_values(layout, room - rim)
    if layout.storage == "csc":
        per_value = layout.value_nbytes + _TILE_BYTES + layout.work_nbytes
        most = max(min(room - rim, _READ_BYTES) // per_value, 1)
        cuts, widest = _cuts(layout.columns, n_genes), n_genes
        fixed = rim
    else:
        per_value = layout.value_nbytes + layout.work_nbytes
        fixed = rim + tile * _TILE_BYTES
        most = max(min(room - fixed, _READ_BYTES) // per_value, tile)
        most = max(most, int(indptr[-1]) // _MOST_BLOCKS)
        cuts, widest = [0, n_cells], TILE_CELLS * 16
    blocks = tuple(
        itertools.chain.from_iterable(
            split_by_count(indptr[start : stop + 1], most, widest)
            for start, stop in itertools.pairwise(cuts)
        )
    )
    memory = fixed + per_value * _largest(indptr, blocks)
    if layout.storage == "csc":
        return Blocking(
            direct=True, rows=(n_cells,), columns=blocks, memory=memory, tile_values=tile
        )
    return Blocking(
        direct=len(blocks) == 1, rows=blocks, columns=(n_genes,), memory=memory, tile_values=tile
    )


def _dense(layout: Layout, room: int, n_workers: int) -> Blocking:
    n_cells, n_genes = layout.shape
    chunk_rows, chunk_columns = (
        min(size, limit) for size, limit in zip(layout.chunk, layout.shape, strict=True)
    )
    item = layout.dtype.itemsize
    # bytes of a value of a block: as stored, decoded, transposed
    whole = 2 * item + 4 + layout.work_nbytes
    most = min(max(room, 0), _READ_BYTES)
    if n_cells * n_genes * whole <= most:
        return _dense_reading(
            layout, room, n_cells, n_genes, n_cells * n_genes * whole, direct=True
        )
    column_wise = chunk_columns < n_genes and (chunk_rows > 1 or chunk_columns > 1)
    if column_wise or not layout.row_major:
        width = chunk_columns if column_wise else 1
        gene = n_cells * value_dtype(layout.dtype).itemsize  # transposed, if most is not zero
        least = -(-n_cells * n_genes // (_MOST_BLOCKS * width))

        def block(width: int) -> int:
            return min(chunk_rows * -(-max(_BLOCK_VALUES // width, least) // chunk_rows), n_cells)

        def memory(width: int) -> int:
            return width * (gene + block(width) * whole)

        if memory(width) <= room:
            widest = min(n_genes // (_TASKS_EACH * n_workers), min(room, _GENES_BYTES) // gene)
            wide = width * max(1, widest // width)
            width = wide if memory(wide) <= room else width
            return _dense_reading(layout, room, block(width), width, memory(width), direct=True)
    rows = min(chunk_rows * max(1, most // (n_genes * chunk_rows * whole)), n_cells)
    return _dense_reading(
        layout, room, rows, n_genes, rows * n_genes * whole, direct=rows == n_cells
    )


def _dense_reading(
    layout: Layout, room: int, rows: int, columns: int, memory: int, *, direct: bool
) -> Blocking:
    n_cells, n_genes = layout.shape
    return Blocking(
        direct=direct,
        rows=split_evenly(n_cells, rows),
        columns=split_evenly(n_genes, columns),
        memory=memory,
        tile_values=_tile_values(layout, room),
    )


def _cuts(columns: Array, n_genes: int) -> list[int]:
    """Cut around runs of selected genes, so that the genes between them are not read."""
    gaps = np.flatnonzero(np.diff(columns) > 1)
    edges = [0, *columns[:1], *columns[gaps] + 1, *columns[gaps + 1], *columns[-1:] + 1, n_genes]
    return [int(edge) for edge in np.unique(edges)]


def split_by_count(indptr: Array, most: int, widest: int) -> Sizes:
    """Cut so that a block holds at most `most` values, but at least one row."""
    sizes, start, end = [], 0, len(indptr) - 1
    while start < end:
        stop = int(np.searchsorted(indptr, indptr[start] + most, side="right")) - 1
        stop = min(max(stop, start + 1), start + widest, end)
        sizes.append(stop - start)
        start = stop
    return tuple(sizes)


def split_by_cost(costs: Array, most: int) -> Iterator[tuple[int, int]]:
    """Cut things in a row into ranges that cost at most `most` each, or hold one thing."""
    start = 0
    for count in split_by_count(np.append(0, np.cumsum(costs)), most, len(costs)):
        yield start, start + count
        start += count


def _largest(indptr: Array, blocks: Sequence[int]) -> int:
    ends = np.cumsum((0, *blocks))
    return int(np.diff(indptr[ends]).max(initial=0))
