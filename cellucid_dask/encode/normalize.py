"""Raw counts -> expression: each cell's counts are scaled to a sum of 10,000, then log1p.

The numbers are those of ``scanpy.pp.normalize_total(target_sum=1e4)`` and ``scanpy.pp.log1p``,
computed in float64 and rounded once. Zeros stay zeros, so sparse blocks stay sparse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellucid_dask.encode.compressed import is_sparse
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.errors import ExportError
from cellucid_dask.types import Array

TARGET_SUM = 1e4
# Totals must not depend on the order in which blocks are added. Float64 adds multiples of 2^-24
# exactly as long as their sum is below 2^29; integers, and float32 values of 1 or more, are such
# multiples, and other values are rounded to one for the total.
_TOTAL_STEP = 2.0**-24
_MAX_TOTAL = 2.0**29
# Values of a block processed at once, so that float64 copies stay small.
_RUN_VALUES = 2**18


def as_counts(block: Any, layer: str) -> Any:
    """Return a block as CSR, CSC or ndarray without duplicate entries, checked to be counts.

    Parameters
    ----------
    block
        (cells, genes): `Compressed`, scipy sparse of any format, or anything numpy reads.
    layer
        Name of the block's layer, for the error.

    Returns
    -------
    csr_matrix, csc_matrix or ndarray
        (cells, genes), in the dtype of `block`.

    Raises
    ------
    ExportError
        A value is negative or not finite, or a sparse block has indices outside its shape.
    """
    if not is_sparse(block):
        values = counts = np.asarray(block)
    else:
        counts = block.tocsc() if block.format == "csc" else block.tocsr()
        check_indices(counts)
        if not counts.has_canonical_format:  # log1p of a sum is not the sum of log1p
            counts = counts.copy()
            counts.sum_duplicates()
        values = counts.data
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        raise ExportError(
            f"{layer} holds values that are negative or not finite, which cannot be normalized: "
            "choose the layer of raw counts with --layer, or omit --normalize."
        )
    return counts


def row_totals(counts: Any) -> Array:
    """Return the sum of each row of a block, independent of the order of addition.

    Parameters
    ----------
    counts
        (cells, genes), from `as_counts`.

    Returns
    -------
    ndarray
        float64, (cells,); exact as long as `check_totals` accepts it.
    """
    if not is_sparse(counts):
        rows = max(_RUN_VALUES // max(counts.shape[1], 1), 1)
        starts = range(0, counts.shape[0], rows)
        sums = [_exact(counts[start : start + rows]).sum(axis=1) for start in starts]
        totals = np.concatenate([*sums, np.empty(0)])
    elif counts.format == "csc":
        totals = np.bincount(
            counts.indices, weights=_exact(counts.data), minlength=counts.shape[0]
        ).astype(np.float64, copy=False)
    else:
        totals = np.zeros(counts.shape[0])
        filled = np.flatnonzero(np.diff(counts.indptr))
        if len(filled):
            totals[filled] = np.add.reduceat(_exact(counts.data), counts.indptr[filled])
    return totals


def check_totals(totals: Array, layer: str) -> Array:
    """Return the totals of cells, or refuse them if they are too large to be exact.

    Parameters
    ----------
    totals
        float64, (cells,).
    layer
        Name of the layer, for the error.

    Raises
    ------
    ExportError
        The values of a cell add up to more than counts can.
    """
    if totals.size and totals.max() >= _MAX_TOTAL:
        raise ExportError(
            f"{layer} holds a cell whose values add up to {totals.max():.3g}, too much for counts: "
            "choose the layer of raw counts with --layer, or omit --normalize."
        )
    return totals


def log1p_cp10k(counts: Any, totals: Array) -> Any:
    """Normalize a block of counts.

    Parameters
    ----------
    counts
        (cells, genes), from `as_counts`.
    totals
        float64, (cells,): counts of each cell over all genes; a cell whose total is 0 stays 0.

    Returns
    -------
    csr_matrix, csc_matrix or ndarray
        float32, (cells, genes), of the kind of `counts` and zero where it is.
    """
    rate = np.divide(TARGET_SUM, totals, out=np.zeros(len(totals)), where=totals > 0)
    if not is_sparse(counts):
        normalized = np.empty(counts.shape, np.float32)
        rows = max(_RUN_VALUES // max(counts.shape[1], 1), 1)
        for start in range(0, counts.shape[0], rows):
            run = slice(start, start + rows)
            normalized[run] = np.log1p(counts[run] * rate[run, None])
        return normalized
    data = np.empty(len(counts.data), np.float32)
    for start in range(0, len(data), _RUN_VALUES):
        run = slice(start, min(start + _RUN_VALUES, len(data)))
        data[run] = np.log1p(counts.data[run] * rate[_rows(counts, run)])
    kind = type(counts)
    return kind((data, counts.indices, counts.indptr), shape=counts.shape)


def are_whole(block: Any) -> bool:
    """Return whether all values of a block, sparse or array-like, are integers."""
    values = block.data if is_sparse(block) else np.asarray(block)
    return values.dtype.kind in "biu" or bool((values == np.rint(values)).all())


def _exact(values: Array) -> Array:
    """Return the values as float64, rounded to multiples of `_TOTAL_STEP`."""
    if values.dtype.kind in "biu":
        return values.astype(np.float64)
    scaled = values.astype(np.float64)
    scaled /= _TOTAL_STEP
    np.rint(scaled, out=scaled)
    scaled *= _TOTAL_STEP
    return scaled


def _rows(counts: Any, part: slice) -> Array:
    """Return the row of each of some stored values."""
    if counts.format == "csc":
        rows: Array = counts.indices[part]
        return rows
    indptr = counts.indptr
    first = int(np.searchsorted(indptr, part.start, side="right")) - 1
    last = int(np.searchsorted(indptr, part.stop, side="left"))
    bounds = np.clip(indptr[first : last + 1], part.start, part.stop)
    return np.repeat(np.arange(first, last), np.diff(bounds))
