"""Parts -> one vector of codes (or float32) a gene.

All genes of a block are handled together, so that each step is one numpy call over
hundreds of thousands of values and not one a gene: threads then run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.genes.parts import Array, DensePart, Part, SparsePart
from cellucid_dask.genes.quantise import CODE_DTYPE, MISSING_CODE, as_float32, scale

# Values handled at once: what a step needs of them, some 40 bytes each, stays in cache.
RUN_VALUES = 2**17


@dataclass(frozen=True)
class GeneVectors:
    """The vectors of some genes, and what there is to say of each.

    Attributes
    ----------
    vectors
        (n_genes, n_cells) codes ``<u1`` or ``<u2``, or float32 ``<f4``.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values.
    n_missing
        int64, (n_genes,): how many values are NaN or infinite.
    """

    vectors: Array
    lowest: Array
    highest: Array
    n_missing: Array


def gene_vectors(parts: Sequence[Part], n_cells: int, bits: int | None) -> GeneVectors:
    """Quantise the genes of a block.

    Parameters
    ----------
    parts
        Parts of the same genes that together hold every cell once (a sparse part may
        leave out cells, which are then zero).
    n_cells
        Length of a vector.
    bits
        8 or 16, or ``None`` for float32.
    """
    n_genes = parts[0].n_genes
    lowest, highest, n_missing = _ranges(parts, n_cells)
    step = None if bits is None else scale(lowest, highest, bits)
    background = np.zeros(n_genes, "<f4" if bits is None else CODE_DTYPE[bits])
    if bits is not None and step is not None:
        zero_lies_within = (lowest <= 0) & (highest >= 0)
        background[zero_lies_within] = np.rint(-lowest * step)[zero_lies_within]
    vectors = np.empty((n_genes, n_cells), background.dtype)
    vectors[:] = background[:, None]
    for part in parts:
        if isinstance(part, DensePart):
            _place_dense(vectors, part, lowest, step, bits)
        else:
            _place_sparse(vectors, part, lowest, step, bits)
    return GeneVectors(vectors, lowest, highest, n_missing)


def _ranges(parts: Sequence[Part], n_cells: int) -> tuple[Array, Array, Array]:
    """Finite minimum and maximum of every gene, zeros included, and its missing values."""
    n_genes = parts[0].n_genes
    lowest = np.full(n_genes, np.inf, np.float32)
    highest = np.full(n_genes, -np.inf, np.float32)
    n_stored = np.zeros(n_genes, np.int64)
    n_missing = np.zeros(n_genes, np.int64)
    for part in parts:
        least, most, missing = (
            _dense_ranges(part) if isinstance(part, DensePart) else _sparse_ranges(part)
        )
        np.minimum(lowest, least, out=lowest)
        np.maximum(highest, most, out=highest)
        n_missing += missing
        n_stored += part.n_cells if isinstance(part, DensePart) else np.diff(part.indptr)
    has_zeros = n_stored < n_cells
    lowest[has_zeros] = np.minimum(lowest[has_zeros], 0)
    highest[has_zeros] = np.maximum(highest[has_zeros], 0)
    nothing_finite = lowest > highest
    lowest[nothing_finite] = highest[nothing_finite] = 0
    return lowest.astype(np.float64) + 0.0, highest.astype(np.float64) + 0.0, n_missing


def _dense_ranges(part: DensePart) -> tuple[Array, Array, Array]:
    values = part.values
    least, most = values.min(axis=1).astype(np.float32), values.max(axis=1).astype(np.float32)
    missing = np.zeros(part.n_genes, np.int64)
    for gene in np.flatnonzero(~(np.isfinite(least) & np.isfinite(most))):
        finite = values[gene][np.isfinite(values[gene])]
        missing[gene] = part.n_cells - len(finite)
        least[gene] = finite.min(initial=np.inf)
        most[gene] = finite.max(initial=-np.inf)
    return least, most, missing


def _sparse_ranges(part: SparsePart) -> tuple[Array, Array, Array]:
    least = np.full(part.n_genes, np.inf, np.float32)
    most = np.full(part.n_genes, -np.inf, np.float32)
    missing = np.zeros(part.n_genes, np.int64)
    filled = np.flatnonzero(part.indptr[1:] > part.indptr[:-1])
    if not len(filled):
        return least, most, missing
    starts, values = part.indptr[filled], part.values
    least[filled] = np.minimum.reduceat(values, starts)
    most[filled] = np.maximum.reduceat(values, starts)
    if not (np.isfinite(least[filled]).all() and np.isfinite(most[filled]).all()):
        finite = np.isfinite(values)
        missing[filled] = np.add.reduceat(~finite, starts, dtype=np.int64)
        least[filled] = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
        most[filled] = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    return least, most, missing


def _place_dense(
    vectors: Array, part: DensePart, lowest: Array, step: Array | None, bits: int | None
) -> None:
    for row, values in enumerate(part.values):
        for start in range(0, part.n_cells, RUN_VALUES):
            run = values[start : start + RUN_VALUES]
            there = slice(part.first_cell + start, part.first_cell + start + len(run))
            if bits is None or step is None:
                vectors[row, there] = run + np.float32(0)  # no negative zeros
            else:
                vectors[row, there] = _codes(run, lowest[row], step[row], bits)


def _place_sparse(
    vectors: Array, part: SparsePart, lowest: Array, step: Array | None, bits: int | None
) -> None:
    flat = vectors.reshape(-1)
    row_starts = np.arange(part.n_genes, dtype=np.int64) * vectors.shape[1] + part.first_cell
    for genes, counts, here in _runs(part.indptr):
        position = np.repeat(row_starts[genes], counts)
        position += part.cells[here]
        values = part.values[here]
        if bits is None or step is None:
            flat[position] = values + np.float32(0)
        else:
            low, rate = np.repeat(lowest[genes], counts), np.repeat(step[genes], counts)
            flat[position] = _codes(values, low, rate, bits)


def _runs(indptr: Array) -> Iterator[tuple[slice, Array, slice]]:
    """Walk over the values: the genes of each run, how many values of each, and where."""
    for start in range(int(indptr[0]), int(indptr[-1]), RUN_VALUES):
        stop = min(start + RUN_VALUES, int(indptr[-1]))
        first = int(np.searchsorted(indptr, start, side="right")) - 1
        last = int(np.searchsorted(indptr, stop, side="left"))
        bounds = np.clip(indptr[first : last + 1], start, stop)
        yield slice(first, last), np.diff(bounds), slice(start, stop)


def _codes(values: Array, low: Any, rate: Any, bits: int) -> Array:
    """Round to the nearest code, in float64; the marker for what is not finite."""
    exact = as_float32(values).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity times a constant gene's zero
        exact -= low
        exact *= rate
    np.rint(exact, out=exact)
    missing = ~np.isfinite(exact)
    if missing.any():
        exact[missing] = MISSING_CODE[bits]
    return exact.astype(CODE_DTYPE[bits])
