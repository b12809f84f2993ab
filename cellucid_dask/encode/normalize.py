"""Raw counts to expression: each cell's counts scaled to 10,000 together, then log1p.

The same numbers as ``scanpy.pp.normalize_total(target_sum=1e4)`` and ``scanpy.pp.log1p``,
computed in float64 and rounded once. Zeros stay zeros, so sparse blocks stay sparse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.errors import ExportError
from cellucid_dask.types import Array

TARGET_SUM = 1e4
# Totals must not depend on the order in which blocks are added up. Float64 adds multiples of
# 2^-24 exactly as long as their sum is below 2^29; whole counts, and those of float32 that
# are at least 1, are such multiples, and other values are rounded to one for the total.
_STEP = 2.0**-24
_MOST = 2.0**29
# Values of a dense block handled at once, so that float64 copies of it stay small.
_RUN_VALUES = 2**18


def counts_of(block: Any, layer: str) -> Any:
    """Return a block as CSR, CSC or ndarray with one value a place, checked to be counts.

    Parameters
    ----------
    block
        (cells, genes): scipy sparse of any format, or anything numpy reads.
    layer
        Where it comes from, for the error.

    Raises
    ------
    ExportError
        A value is negative or not finite.
    """
    if not sparse.issparse(block):
        values = held = np.asarray(block)
    else:
        held = block if block.format in ("csr", "csc") else block.tocsr()
        check_indices(held)
        if not held.has_canonical_format:  # log1p of a sum is not the sum of log1p
            held = held.copy()
            held.sum_duplicates()
        values = held.data
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        raise ExportError(
            f"{layer} holds values that are negative or not finite, which cannot be normalized: "
            "choose the layer of raw counts with --layer, or leave out --normalize."
        )
    return held


def row_totals(counts: Any) -> Array:
    """Add up each row of `counts_of` a block; float64, in whatever order the same.

    Raises
    ------
    ExportError
        A total is too large to be added up exactly.
    """
    if not sparse.issparse(counts):
        rows = max(_RUN_VALUES // max(counts.shape[1], 1), 1)
        starts = range(0, counts.shape[0], rows)
        found = [_exact(counts[start : start + rows]).sum(axis=1) for start in starts]
        totals = np.concatenate([*found, np.empty(0)])
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
    """Refuse totals that are no longer exact.

    Raises
    ------
    ExportError
        Counts of one cell add up to more than counts can.
    """
    if totals.size and totals.max() >= _MOST:
        raise ExportError(
            f"{layer} holds a cell whose values add up to {totals.max():.3g}, too much for counts: "
            "choose the layer of raw counts with --layer, or leave out --normalize."
        )
    return totals


def log1p_cp10k(counts: Any, totals: Array) -> Any:
    """Normalize `counts_of` a block.

    Parameters
    ----------
    counts
        (cells, genes): CSR, CSC or ndarray.
    totals
        float64, (cells,): counts of each cell over all genes; a cell of 0 stays 0.

    Returns
    -------
    csr_matrix, csc_matrix or ndarray
        float32, with the zeros of `counts`.
    """
    rate = np.divide(TARGET_SUM, totals, out=np.zeros(len(totals)), where=totals > 0)
    if not sparse.issparse(counts):
        found = np.empty(counts.shape, np.float32)
        rows = max(_RUN_VALUES // max(counts.shape[1], 1), 1)
        for start in range(0, counts.shape[0], rows):
            here = slice(start, start + rows)
            found[here] = np.log1p(counts[here] * rate[here, None])
        return found
    data = np.empty(len(counts.data), np.float32)
    for start in range(0, len(data), _RUN_VALUES):
        here = slice(start, min(start + _RUN_VALUES, len(data)))
        data[here] = np.log1p(counts.data[here] * rate[_rows(counts, here)])
    kind = type(counts)
    return kind((data, counts.indices, counts.indptr), shape=counts.shape)


def are_whole(block: Any) -> bool:
    """Tell whether a block holds whole numbers only, as counts are."""
    values = block.data if sparse.issparse(block) else np.asarray(block)
    return values.dtype.kind in "biu" or bool((values == np.rint(values)).all())


def _exact(values: Array) -> Array:
    if values.dtype.kind in "biu":
        return values.astype(np.float64)
    scaled = values.astype(np.float64)
    scaled /= _STEP
    np.rint(scaled, out=scaled)
    scaled *= _STEP
    return scaled


def _rows(counts: Any, here: slice) -> Array:
    """Rows of some of the stored values."""
    if counts.format == "csc":
        rows: Array = counts.indices[here]
        return rows
    indptr = counts.indptr
    first = int(np.searchsorted(indptr, here.start, side="right")) - 1
    last = int(np.searchsorted(indptr, here.stop, side="left"))
    found = np.clip(indptr[first : last + 1], here.start, here.stop)
    return np.repeat(np.arange(first, last), np.diff(found))
