"""Tiles: some cells' values of some genes, gene after gene.

A row-major block is cut into tiles that are small enough to be transposed in cache;
a gene-major block is one tile already. Everything after this room sees tiles only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import ExportError
from cellucid_dask.types import Array

# Rows of a tile are numbered in 16 bits.
TILE_CELLS = 2**16
# What is stored dense is mostly zeros all the same: up to this share of values it is held as
# sparse, in 6 or 8 bytes a value instead of 4. Tiles then follow the values, not the cells.
_MOST_FILLED = 1 / 4


@dataclass(frozen=True)
class SparseTile:
    """The non-zeros of cells ``first_cell ...``, sorted by gene and then by cell.

    Attributes
    ----------
    first_cell, n_cells
        The cells the tile covers.
    indptr
        int, (n_genes + 1,): where each gene's values begin.
    cells
        unsigned int, (nnz,): the cell of each value, counted from `first_cell`.
    values
        (nnz,): in the source's dtype where that is exact in float32, else float32.
    """

    first_cell: int
    n_cells: int
    indptr: Array
    cells: Array
    values: Array

    @property
    def n_genes(self) -> int:
        """Number of genes covered."""
        return len(self.indptr) - 1

    @property
    def gene_nbytes(self) -> Array:
        """Bytes of each gene's values and their cells: int, (n_genes,)."""
        nbytes: Array = np.diff(self.indptr) * (self.cells.itemsize + self.values.itemsize)
        return nbytes

    def genes(self, start: int, stop: int) -> SparseTile:
        """Return the tile of genes ``start ... stop - 1``, as a view."""
        indptr = self.indptr[start : stop + 1]
        here = slice(int(indptr[0]), int(indptr[-1]))
        return SparseTile(
            self.first_cell, self.n_cells, indptr - indptr[0], self.cells[here], self.values[here]
        )


@dataclass(frozen=True)
class DenseTile:
    """All values of cells ``first_cell ...``: `values` is (n_genes, n_cells)."""

    first_cell: int
    values: Array

    @property
    def n_cells(self) -> int:
        """Number of cells covered."""
        return int(self.values.shape[1])

    @property
    def n_genes(self) -> int:
        """Number of genes covered."""
        return int(self.values.shape[0])

    @property
    def gene_nbytes(self) -> Array:
        """Bytes of each gene's values: int, (n_genes,)."""
        return np.full(self.n_genes, self.n_cells * self.values.itemsize)

    def genes(self, start: int, stop: int) -> DenseTile:
        """Return the tile of genes ``start ... stop - 1``, as a view."""
        return DenseTile(self.first_cell, self.values[start:stop])


Tile = SparseTile | DenseTile


def value_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the narrowest dtype that holds the source's values as float32 would."""
    dtype = np.dtype(dtype).newbyteorder("=")
    return dtype if np.can_cast(dtype, np.float32) else np.dtype(np.float32)


def tiles_of(
    block: Any, first_cell: int, columns: Array | None = None, *, tile_values: int
) -> Iterator[Tile]:
    """Cut a block of the matrix into tiles.

    Parameters
    ----------
    block
        (cells, genes): scipy sparse of any format, or anything numpy reads.
    first_cell
        The cell in the block's first row.
    columns
        The block's columns to keep, ascending; all when omitted.
    tile_values
        Stored values of a tile of a sparse block, at the most unless one row holds more.
    """
    if not sparse.issparse(block):
        values = np.asarray(block)
        kept = values if columns is None else values[:, columns]
        yield _dense_part(np.ascontiguousarray(_as_stored(kept).T), first_cell)
    elif block.format == "csc":
        yield _sparse_tile(block if columns is None else block[:, columns], first_cell)
    else:
        rows = block.tocsr()
        check_indices(rows)
        lookup = None if columns is None else _lookup(columns, rows.shape[1])
        for start, stop in _row_ranges(rows.indptr, tile_values):
            tile = _rows(rows, start, stop)
            yield _sparse_tile(tile if lookup is None else _keep(tile, lookup), first_cell + start)


def _dense_part(values: Array, first_cell: int) -> Tile:
    counts = np.count_nonzero(values, axis=1)
    if counts.sum() > values.size * _MOST_FILLED:
        return DenseTile(first_cell, values)
    n_cells = values.shape[1]
    where = np.flatnonzero(values)
    held = values.reshape(-1)[where]
    where %= n_cells
    cells = where.astype(_cell_dtype(n_cells))
    return SparseTile(first_cell, n_cells, np.append(0, np.cumsum(counts)), cells, held)


def _cell_dtype(n_cells: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if n_cells <= TILE_CELLS else np.uint32


def _row_ranges(indptr: Array, tile_values: int) -> Iterator[tuple[int, int]]:
    start, n_rows = 0, len(indptr) - 1
    while start < n_rows:
        stop = int(np.searchsorted(indptr, indptr[start] + tile_values, side="right")) - 1
        stop = min(max(stop, start + 1), start + TILE_CELLS, n_rows)
        yield start, stop
        start = stop


def _rows(matrix: Any, start: int, stop: int) -> Any:
    """Rows of a CSR matrix as views; scipy's own slicing copies."""
    indptr = matrix.indptr[start : stop + 1]
    here = slice(int(indptr[0]), int(indptr[-1]))
    return sparse.csr_matrix(
        (matrix.data[here], matrix.indices[here], indptr - indptr[0]),
        shape=(stop - start, matrix.shape[1]),
    )


def _lookup(columns: Array, n_columns: int) -> Array:
    lookup = np.full(n_columns, -1, np.int32)
    lookup[columns] = np.arange(len(columns), dtype=np.int32)
    return lookup


def _keep(tile: Any, lookup: Array) -> Any:
    """Drop the columns that `lookup` maps to -1 and renumber the rest."""
    column = lookup[tile.indices]
    kept = column >= 0
    before = np.concatenate(([0], np.cumsum(kept)))
    return sparse.csr_matrix(
        (tile.data[kept], column[kept], before[tile.indptr]),
        shape=(tile.shape[0], int(lookup.max(initial=-1)) + 1),
    )


def _sparse_tile(matrix: Any, first_cell: int) -> SparseTile:
    n_cells = matrix.shape[0]
    if matrix.format == "csc":
        check_indices(matrix)
        if not matrix.has_sorted_indices:
            matrix = matrix.tocsr().tocsc()  # sorts in linear time, and leaves the input alone
    else:
        matrix = matrix.tocsc()
    if _has_duplicates(matrix):
        matrix = matrix.copy()
        matrix.sum_duplicates()  # in the source's dtype, as scipy reads the matrix
    return SparseTile(
        first_cell,
        n_cells,
        matrix.indptr,
        matrix.indices.astype(_cell_dtype(n_cells)),
        _as_stored(matrix.data),
    )


def _as_stored(values: Array) -> Array:
    dtype = value_dtype(values.dtype)
    return as_float32(values) if dtype == np.float32 else values.astype(dtype, copy=False)


def check_indices(matrix: Any) -> None:
    """Refuse indices outside the matrix: scipy's kernels would write out of bounds."""
    limit = matrix.shape[1 if matrix.format == "csr" else 0]
    indices, indptr = matrix.indices, matrix.indptr
    bad = len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= limit)
    if bad or indptr[0] < 0 or indptr[-1] > len(indices) or np.any(np.diff(indptr) < 0):
        raise ExportError(
            "The sparse matrix is damaged: it holds indices outside its shape. "
            "Write the file again from its origin."
        )


def _has_duplicates(matrix: Any) -> bool:
    """Tell whether a sorted CSC matrix names a cell twice in one gene."""
    same = matrix.indices[1:] == matrix.indices[:-1]
    if not same.any():
        return False
    starts = matrix.indptr[1:-1]
    starts = starts[(starts > 0) & (starts < len(matrix.indices))]
    same[starts - 1] = False
    return bool(same.any())
