"""The blocks in which a matrix is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cellucid_dask.encode.quantize import value_dtype
from cellucid_dask.encode.tiles import TILE_CELLS, split_by_count
from cellucid_dask.types import Array, Sizes

# Larger reads gain nothing, unless a tile is larger.
_READ_BYTES = 16 * 2**20
_MAX_BLOCKS = 20_000
# For a dense matrix read gene by gene: values of a block, and bytes of the genes of a task if no
# value were zero. As most are zero a task needs far less; the limit makes its memory independent
# of the number of cells, until the genes that come with one read exceed it.
_BLOCK_VALUES = 2**18
_GENES_BYTES = 96 * 2**20
# Enough tasks that all workers finish at about the same time.
_TASKS_PER_WORKER = 4
# A tile of this many values is transposed in cache ...
_TILE_VALUES = 2**19
# ... but a tile should have some values of each gene: gathering many small ranges takes longer.
_TILE_VALUES_PER_GENE = 100
# Working memory per value of a tile being transposed, in bytes: indices, values, and both sorted.
_TILE_BYTES = 26


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Properties of a matrix that planning depends on.

    Attributes
    ----------
    shape
        (cells, genes).
    dtype
        Of the values as they are read.
    storage
        Sparse by row or by column, or dense.
    columns
        int, (n_selected,): matrix columns of the genes to export, ascending.
    value_nbytes
        Bytes of a stored value, with its index if sparse.
    indptr
        int64, (n_major + 1,): row or column pointers of a sparse matrix that is read by slices.
    chunk
        Unit of reading: rows and columns of a dense matrix; stored values (first entry) of a
        sparse one.
    row_major
        Whether a dense matrix is cheaper to read along rows.
    fixed_blocks
        Row and column block sizes of a Dask array, which cannot be chosen.
    work_nbytes
        Working memory per value of an on-the-fly transformation, in bytes.
    exact
        Whether counts that float32 does not represent are kept.
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
    exact: bool = False

    @property
    def tile_dtype(self) -> np.dtype[Any]:
        """Widest dtype of the values of tiles."""
        return value_dtype(self.dtype, exact=self.exact)

    @property
    def n_selected(self) -> int:
        """Number of genes to export."""
        return len(self.columns)

    @property
    def nnz(self) -> int | None:
        """Number of stored values; ``None`` if not known without reading the matrix."""
        if self.storage == "dense":
            return self.shape[0] * self.shape[1]
        return None if self.indptr is None else int(self.indptr[-1])


@dataclass(frozen=True, kw_only=True)
class Blocking:
    """The blocks in which a matrix is read.

    Attributes
    ----------
    direct
        Whether a task reads all cells of some genes, in one block or in several consecutive ones.
    rows, columns
        Sizes of the blocks.
    memory
        Bytes that reading and transposing the largest block takes.
    tile_values
        Maximal number of stored values in a tile.
    """

    direct: bool
    rows: Sizes
    columns: Sizes
    memory: int
    tile_values: int


def choose_blocks(layout: Layout, available_bytes: int, n_workers: int) -> Blocking:
    """Choose blocks.

    Parameters
    ----------
    layout
        The matrix.
    available_bytes
        Memory in which a task should read and transpose a block; the smallest possible blocks
        may exceed it.
    n_workers
        Number of concurrent tasks.
    """
    if layout.fixed_blocks is not None:
        return _fixed(layout)
    if layout.storage == "dense":
        return _dense(layout, available_bytes, n_workers)
    return _sparse(layout, available_bytes)


def split_evenly(total: int, width: int) -> Sizes:
    """Cut `total` into blocks of `width`; the last may be smaller."""
    return tuple(min(width, total - start) for start in range(0, total, width))


def _fixed(layout: Layout) -> Blocking:
    rows, columns = layout.fixed_blocks or ((), ())
    values = max(rows, default=0) * max(columns, default=0)
    memory = 0  # the stored values of a sparse block are not known without reading it
    if layout.storage == "dense":
        memory = values * (layout.value_nbytes + 4 + layout.work_nbytes)
    return Blocking(
        direct=len(rows) == 1, rows=rows, columns=columns, memory=memory,
        tile_values=_tile_values(layout, 2**31),
    )  # fmt: skip


def _tile_values(layout: Layout, available_bytes: int) -> int:
    preferred = max(_TILE_VALUES, _TILE_VALUES_PER_GENE * layout.n_selected)
    return max(min(preferred, available_bytes // (_TILE_BYTES + layout.value_nbytes)), 2**14)


def _sparse(layout: Layout, available_bytes: int) -> Blocking:
    n_cells, n_genes = layout.shape
    indptr = np.asarray(layout.indptr)
    # The first and the last chunk of a block are read whole: with at least the values of a chunk in
    # a block, each chunk is read for two blocks at most.
    chunk = max(min(layout.chunk[0], int(indptr[-1])), 1)
    partial_chunks = 2 * layout.chunk[0] * layout.value_nbytes
    chunk_bytes = chunk * (layout.value_nbytes + layout.work_nbytes)
    tile = _tile_values(layout, available_bytes - partial_chunks - chunk_bytes)
    by_column = layout.storage == "csc"
    if by_column:
        per_value = layout.value_nbytes + _TILE_BYTES + layout.work_nbytes
        fixed = partial_chunks
        max_values = max(min(available_bytes - fixed, _READ_BYTES) // per_value, chunk)
        bounds, max_lines = _selected_runs(layout.columns, n_genes), n_genes
    else:
        per_value = layout.value_nbytes + layout.work_nbytes
        fixed = partial_chunks + tile * _TILE_BYTES
        max_values = max(min(available_bytes - fixed, _READ_BYTES) // per_value, tile, chunk)
        max_values = max(max_values, int(indptr[-1]) // _MAX_BLOCKS)
        bounds, max_lines = [0, n_cells], TILE_CELLS * 16
    blocks = tuple(
        stop - start
        for first, last in itertools.pairwise(bounds)
        for start, stop in split_by_count(indptr[first : last + 1], max_values, max_lines)
    )
    largest = int(np.diff(indptr[np.cumsum((0, *blocks))]).max(initial=0))
    return Blocking(
        direct=by_column or len(blocks) == 1,
        rows=(n_cells,) if by_column else blocks,
        columns=blocks if by_column else (n_genes,),
        memory=fixed + per_value * largest,
        tile_values=tile,
    )


def _dense(layout: Layout, available_bytes: int, n_workers: int) -> Blocking:
    n_cells, n_genes = layout.shape
    chunk_rows, chunk_columns = (
        min(size, limit) for size, limit in zip(layout.chunk, layout.shape, strict=True)
    )
    item = layout.dtype.itemsize
    per_value = 2 * item + 4 + layout.work_nbytes  # as stored, decoded, transposed

    def blocking(rows: int, columns: int, memory: int, *, direct: bool) -> Blocking:
        return Blocking(
            direct=direct,
            rows=split_evenly(n_cells, rows),
            columns=split_evenly(n_genes, columns),
            memory=memory,
            tile_values=_tile_values(layout, available_bytes),
        )

    max_bytes = min(max(available_bytes, 0), _READ_BYTES)
    if n_cells * n_genes * per_value <= max_bytes:
        return blocking(n_cells, n_genes, n_cells * n_genes * per_value, direct=True)
    column_wise = chunk_columns < n_genes and (chunk_rows > 1 or chunk_columns > 1)
    if column_wise or not layout.row_major:
        width = chunk_columns if column_wise else 1
        gene = n_cells * layout.tile_dtype.itemsize  # transposed, if few values are zero
        min_rows = -(-n_cells * n_genes // (_MAX_BLOCKS * width))

        def height(width: int) -> int:
            rows = max(_BLOCK_VALUES // width, min_rows)
            return min(chunk_rows * -(-rows // chunk_rows), n_cells)

        def memory(width: int) -> int:
            return width * (gene + height(width) * per_value)

        if memory(width) <= available_bytes:
            max_width = min(
                n_genes // (_TASKS_PER_WORKER * n_workers),
                min(available_bytes, _GENES_BYTES) // gene,
            )
            wider = width * max(1, max_width // width)
            width = wider if memory(wider) <= available_bytes else width
            return blocking(height(width), width, memory(width), direct=True)
    rows = min(chunk_rows * max(1, max_bytes // (n_genes * chunk_rows * per_value)), n_cells)
    return blocking(rows, n_genes, rows * n_genes * per_value, direct=rows == n_cells)


def _selected_runs(columns: Array, n_genes: int) -> list[int]:
    """Return bounds around runs of selected genes, so that the genes between are not read."""
    gaps = np.flatnonzero(np.diff(columns) > 1)
    edges = [0, *columns[:1], *columns[gaps] + 1, *columns[gaps + 1], *columns[-1:] + 1, n_genes]
    return [int(edge) for edge in np.unique(edges)]


def split_by_cost(costs: Array, max_cost: int) -> Iterator[tuple[int, int]]:
    """Cut consecutive items into ranges of limited total cost.

    Parameters
    ----------
    costs
        int, (n,): the cost of each item.
    max_cost
        Limit of a range; a single item may exceed it.

    Yields
    ------
    tuple of int
        First item of a range, and the item after its last.
    """
    yield from split_by_count(np.append(0, np.cumsum(costs)), max_cost, len(costs))
