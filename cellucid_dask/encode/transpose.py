"""Rows of a CSR matrix -> their values sorted by gene, by the compiled kernel."""

from __future__ import annotations

from ctypes import byref
from typing import Any

import numpy as np

from cellucid_dask.encode.library import UNSORTED, RowsStruct, address, checked, library, value_type
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.types import Array

DAMAGED = "The sparse matrix is damaged: it holds indices outside its shape. Create the file again."


class Transpose:
    """Transposes parts of a CSR matrix.

    Parameters
    ----------
    rows
        scipy CSR, (cells, genes), with entries in any order.
    columns
        int, (n_kept,): the columns to keep, ascending; all when omitted.
    """

    def __init__(self, rows: Any, columns: Array | None) -> None:
        n_columns = rows.shape[1]
        self._indptr = np.ascontiguousarray(rows.indptr, np.int64)
        self._indices = np.ascontiguousarray(rows.indices)
        if self._indices.dtype not in (np.int32, np.int64):
            self._indices = self._indices.astype(np.int64)
        values = np.ascontiguousarray(rows.data)
        known = value_type(values.dtype, wide=True) is not None
        self._values = values if known else as_float32(values)
        self._lookup: Array | None = None
        if columns is not None:
            self._lookup = np.full(n_columns, -1, np.int32)
            self._lookup[columns] = np.arange(len(columns), dtype=np.int32)
        self._n_genes = n_columns if columns is None else len(columns)
        self._n_columns = n_columns

    def __call__(self, start: int, stop: int) -> tuple[Array, Array, Array] | None:
        """Transpose rows ``start ... stop - 1``, at most 65,536.

        Returns
        -------
        tuple of ndarray, or None
            The offset of each gene's first value and the end, int64; the row of each value from
            `start` on, uint16; the values, in their dtype where float32 represents it, else
            float32. ``None`` if an entry of the matrix came more than once.

        Raises
        ------
        ExportError
            Row pointers or indices are out of range.
        """
        indptr = self._indptr[start : stop + 1]
        rows = RowsStruct(
            address(indptr), address(self._indices), address(self._values), address(self._lookup),
            stop - start, self._n_columns, min(self._indices.size, self._values.size),
            self._n_genes, self._indices.itemsize, value_type(self._values.dtype, wide=True),
        )  # fmt: skip
        starts = np.empty(self._n_genes + 1, np.int64)
        checked(library().cellucid_count(byref(rows), address(starts)), DAMAGED)
        kept = value_type(self._values.dtype) is not None
        cells = np.empty(starts[-1], np.uint16)
        values = np.empty(starts[-1], self._values.dtype if kept else np.float32)
        outputs = address(starts), address(cells), address(values)
        result = library().cellucid_transpose(byref(rows), *outputs)
        if result == UNSORTED:
            return None
        checked(result, DAMAGED)
        return starts, cells, values
