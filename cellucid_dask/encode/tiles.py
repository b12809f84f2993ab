"""Tiles: the values of some cells and some genes, sorted by gene.

A row-major block is cut into tiles that are small enough to be transposed in cache;
a gene-major block is one tile already. Later stages see tiles only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.compressed import is_sparse
from cellucid_dask.encode.quantize import as_float32, exceed_float32, value_dtype
from cellucid_dask.encode.transpose import DAMAGED, Transpose
from cellucid_dask.errors import ExportError
from cellucid_dask.types import Array

# Cells of a tile cut from rows: their numbers fit in 16 bits.
TILE_CELLS = 2**16
# Matrices stored dense are mostly zeros too: up to this share of non-zeros a tile is kept sparse,
# in 6 or 8 bytes per value instead of 4. Its size then depends on the values, not on the cells.
_MAX_SPARSE_DENSITY = 1 / 4


@dataclass(frozen=True)
class SparseTile:
    """The non-zeros of cells ``first_cell ...``, sorted by gene and then by cell.

    Attributes
    ----------
    first_cell, n_cells
        The cells that the tile covers.
    indptr
        int, (n_genes + 1,): offset of each gene's first value, and the end.
    cells
        uint16 or uint32, (nnz,): the cell of each value, relative to `first_cell`.
    values
        (nnz,): in the source's dtype where float32 represents it, else float32, or float64 where
        counts are kept exactly.
    """

    first_cell: int
    n_cells: int
    indptr: Array
    cells: Array
    values: Array

    @property
    def n_genes(self) -> int:
        """Number of genes that the tile covers."""
        return len(self.indptr) - 1

    @property
    def gene_nbytes(self) -> Array:
        """int, (n_genes,): bytes of each gene's values and cells."""
        nbytes: Array = np.diff(self.indptr) * (self.cells.itemsize + self.values.itemsize)
        return nbytes

    def genes(self, start: int, stop: int) -> SparseTile:
        """Return the tile of genes ``start ... stop - 1``, as a view."""
        indptr = self.indptr[start : stop + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        return SparseTile(
            self.first_cell, self.n_cells, indptr - indptr[0], self.cells[part], self.values[part]
        )


@dataclass(frozen=True)
class DenseTile:
    """All values of cells ``first_cell ...``.

    Attributes
    ----------
    first_cell
        The first cell that the tile covers.
    values
        (n_genes, n_cells): of a dtype as those of a `SparseTile`.
    """

    first_cell: int
    values: Array

    @property
    def n_cells(self) -> int:
        """Number of cells that the tile covers."""
        return int(self.values.shape[1])

    @property
    def n_genes(self) -> int:
        """Number of genes that the tile covers."""
        return int(self.values.shape[0])

    @property
    def gene_nbytes(self) -> Array:
        """int, (n_genes,): bytes of each gene's values."""
        return np.full(self.n_genes, self.n_cells * self.values.itemsize)

    def genes(self, start: int, stop: int) -> DenseTile:
        """Return the tile of genes ``start ... stop - 1``, as a view."""
        return DenseTile(self.first_cell, self.values[start:stop])


Tile = SparseTile | DenseTile


def narrowed(values: Array) -> Array:
    """Return values in one or two bytes each if they are counts that fit, else as they are.

    What is returned has the same bits when it is converted back. Values are taken for counts, or
    not, by the first few.
    """
    with np.errstate(invalid="ignore"):  # of infinite values
        if values.dtype.itemsize == 1 or not values.size or np.any(values.reshape(-1)[:64] % 1):
            return values
    lowest, highest = values.min(), values.max()
    fitting = (dtype for dtype in (np.uint8, np.uint16) if highest <= np.iinfo(dtype).max)
    dtype = next(fitting, None) if lowest >= 0 else None
    if dtype is None or np.dtype(dtype).itemsize == values.dtype.itemsize:
        return values
    counts = values.astype(dtype)
    has_negative_zero = lowest == 0 and np.signbit(values).any()
    return counts if not has_negative_zero and np.array_equal(counts, values) else values


def tiles_of(
    block: Any,
    first_cell: int,
    columns: Array | None = None,
    *,
    tile_values: int,
    exact: bool = False,
) -> Iterator[Tile]:
    """Cut a block of the matrix into tiles.

    Parameters
    ----------
    block
        (cells, genes): `Compressed`, scipy sparse of any format, or anything numpy reads.
    first_cell
        The cell in the block's first row.
    columns
        int, (n_kept,): the block's columns to keep, ascending; all when omitted.
    tile_values
        Maximal number of stored values in a tile of a sparse block; a single row may exceed it.
    exact
        Whether values become float64, not float32, in a tile that has some above 2^24.

    Raises
    ------
    ExportError
        A sparse block has indices outside its shape.
    """
    if not is_sparse(block):
        values = np.asarray(block)
        values = values if columns is None else values[:, columns]
        yield from _tiles_of_dense(values, first_cell, exact=exact)
    elif block.format == "csc":
        matrix = block.tocsc()
        chosen = matrix if columns is None else matrix[:, columns]
        yield _sparse_tile(chosen, first_cell, exact=exact)
    else:
        rows = block if block.format == "csr" else block.tocsr()
        transpose = Transpose(rows, columns)
        for start, stop in split_by_count(rows.indptr, tile_values, TILE_CELLS):
            starts = transpose.count(start, stop)
            stored = rows.data[rows.indptr[start] : rows.indptr[stop]]
            found = None
            if not (exact and exceed_float32(stored)):
                found = transpose.sort(start, stop, starts)
            if found is None:  # rare: such counts, or an entry came more than once: scipy adds
                part = rows.tocsr()[start:stop]
                part = part if columns is None else part[:, columns]
                yield _sparse_tile(part.tocsc(), first_cell + start, exact=exact)
            else:
                yield SparseTile(first_cell + start, stop - start, starts, *found)


def _tiles_of_dense(values: Array, first_cell: int, *, exact: bool) -> Iterator[Tile]:
    transpose = Transpose(values)
    for start in range(0, len(values), TILE_CELLS):
        stop = min(start + TILE_CELLS, len(values))
        part, starts = values[start:stop], transpose.count(start, stop)
        found = None
        wide = exact and exceed_float32(part)
        if starts[-1] <= part.size * _MAX_SPARSE_DENSITY and not wide:
            found = transpose.sort(start, stop, starts)
        if found is None:
            stored = _as_stored(part, exact=wide)
            yield DenseTile(first_cell + start, np.ascontiguousarray(stored.T))
        else:
            yield SparseTile(first_cell + start, stop - start, starts, *found)


def split_by_count(indptr: Array, max_values: int, max_rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows into ranges of at most `max_values` values and `max_rows` rows.

    Parameters
    ----------
    indptr
        int, (n_rows + 1,): offset of each row's first value, and the end.
    max_values
        Limit of a range; a single row may exceed it.
    max_rows
        Limit of a range.

    Yields
    ------
    tuple of int
        First row of a range, and the row after its last.
    """
    start, n_rows = 0, len(indptr) - 1
    while start < n_rows:
        stop = int(np.searchsorted(indptr, indptr[start] + max_values, side="right")) - 1
        stop = min(max(stop, start + 1), start + max_rows, n_rows)
        yield start, stop
        start = stop


def _cell_dtype(n_cells: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if n_cells <= TILE_CELLS else np.uint32


def _sparse_tile(matrix: Any, first_cell: int, *, exact: bool) -> SparseTile:
    n_cells = matrix.shape[0]
    check_indices(matrix)
    if not matrix.has_sorted_indices:
        matrix = matrix.tocsr().tocsc()  # sorts a copy, in linear time
    if _has_duplicates(matrix):
        matrix = matrix.copy()
        matrix.sum_duplicates()  # in the source's dtype, as scipy does
    return SparseTile(
        first_cell,
        n_cells,
        matrix.indptr,
        matrix.indices.astype(_cell_dtype(n_cells)),
        _as_stored(matrix.data, exact=exact and exceed_float32(matrix.data)),
    )


def _as_stored(values: Array, *, exact: bool) -> Array:
    dtype = value_dtype(values.dtype, exact=exact)
    return as_float32(values) if dtype == np.float32 else values.astype(dtype, copy=False)


def check_indices(matrix: Any) -> None:
    """Refuse a CSR or CSC matrix with indices outside its shape.

    Given such a matrix scipy's kernels would write out of bounds.

    Raises
    ------
    ExportError
        An index or a row pointer is out of range.
    """
    limit = matrix.shape[1 if matrix.format == "csr" else 0]
    indices, indptr = matrix.indices, matrix.indptr
    bad = len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= limit)
    if bad or indptr[0] < 0 or indptr[-1] > len(indices) or np.any(np.diff(indptr) < 0):
        raise ExportError(DAMAGED)


def _has_duplicates(matrix: Any) -> bool:
    """Return whether a sorted CSC matrix has two entries for one cell and gene."""
    same = matrix.indices[1:] == matrix.indices[:-1]
    if not same.any():
        return False
    starts = matrix.indptr[1:-1]
    starts = starts[(starts > 0) & (starts < len(matrix.indices))]
    same[starts - 1] = False
    return bool(same.any())
