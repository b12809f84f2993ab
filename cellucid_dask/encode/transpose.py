"""Rows of a matrix, CSR or dense -> their values sorted by gene, by the compiled kernel."""

from __future__ import annotations

from ctypes import byref
from typing import Any

import numpy as np

from cellucid_dask.encode.quantize import as_float32, value_dtype
from cellucid_dask.kernel.library import UNSORTED, RowsStruct, address, checked, library, value_type
from cellucid_dask.types import Array

DAMAGED = "The sparse matrix is damaged: it holds indices outside its shape. Create the file again."


class Transpose:
    """Transposes parts of a matrix: at most 65,536 rows at a time.

    Parameters
    ----------
    rows
        (cells, genes): scipy CSR with entries in any order, or a dense array.
    columns
        int, (n_kept,): the columns of a CSR matrix to keep, ascending; all when omitted.
    """

    def __init__(self, rows: Any, columns: Array | None = None) -> None:
        self._indptr, self._indices, self._lookup = None, None, None
        values = rows
        if not isinstance(rows, np.ndarray):
            values = rows.data
            self._indptr = np.ascontiguousarray(rows.indptr, np.int64)
            self._indices = np.ascontiguousarray(rows.indices)
            if self._indices.dtype not in (np.int32, np.int64):
                self._indices = self._indices.astype(np.int64)
        values = np.ascontiguousarray(values)
        known = value_type(values.dtype, wide=True) is not None
        self._values = values if known else as_float32(values)
        self._n_genes = self._n_columns = rows.shape[1]
        if columns is not None:
            self._n_genes = len(columns)
            self._lookup = np.full(self._n_columns, -1, np.int32)
            self._lookup[columns] = np.arange(self._n_genes, dtype=np.int32)

    def _rows(self, start: int, stop: int) -> tuple[RowsStruct, Array]:
        """Return the kernel's structure of some rows, and an array that it points to."""
        number = value_type(self._values.dtype, wide=True)
        if self._indptr is None or self._indices is None:
            values = self._values[start:stop]
            return RowsStruct(
                None, None, address(values), None,
                stop - start, self._n_columns, values.size, self._n_genes, 0, number,
            ), values  # fmt: skip
        indptr = self._indptr[start : stop + 1]
        return RowsStruct(
            address(indptr), address(self._indices), address(self._values), address(self._lookup),
            stop - start, self._n_columns, min(self._indices.size, self._values.size),
            self._n_genes, self._indices.itemsize, number,
        ), indptr  # fmt: skip

    def count(self, start: int, stop: int) -> Array:
        """Count the values of each gene in rows ``start ... stop - 1``.

        Returns
        -------
        ndarray
            int64, (n_genes + 1,): the offset of each gene's first value, and the end. Zeros of
            dense rows are no values.

        Raises
        ------
        ExportError
            Row pointers or indices are out of range.
        """
        rows, _held = self._rows(start, stop)
        starts = np.empty(self._n_genes + 1, np.int64)
        checked(library().cellucid_count(byref(rows), address(starts)), DAMAGED)
        return starts

    def sort(self, start: int, stop: int, starts: Array) -> tuple[Array, Array] | None:
        """Sort the values of rows by gene; `starts` is what `count` returned for them.

        Returns
        -------
        tuple of ndarray, or None
            The row of each value from `start` on, uint16; the values, in their dtype where float32
            represents it, else float32. ``None`` if an entry of the matrix came more than once.
        """
        rows, _held = self._rows(start, stop)
        cells = np.empty(starts[-1], np.uint16)
        values = np.empty(starts[-1], value_dtype(self._values.dtype))
        outputs = address(starts), address(cells), address(values)
        result = library().cellucid_transpose(byref(rows), *outputs)
        if result == UNSORTED:
            return None
        checked(result, DAMAGED)
        return cells, values
