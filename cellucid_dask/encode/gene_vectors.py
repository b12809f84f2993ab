"""Tiles -> one vector of codes (or float32) a gene.

All genes and tiles of a batch are handled together, so that each step is one numpy call
over tens of thousands of values and not one a gene: threads then run side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.quantize import CODE_DTYPE, MISSING_CODE, scale
from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile
from cellucid_dask.types import Array

# Values handled at once: what a step needs of them, some 40 bytes each, mostly stays in cache,
# and calls are few enough that threads seldom wait for Python's lock.
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


def gene_vectors(tiles: Sequence[Tile], n_cells: int, bits: int | None) -> GeneVectors:
    """Quantize the genes of a block.

    Parameters
    ----------
    tiles
        Tiles of the same genes that together hold every cell once (a sparse tile may
        leave out values, which are then zero).
    n_cells
        Length of a vector.
    bits
        8 or 16, or ``None`` for float32.
    """
    dense = [tile for tile in tiles if isinstance(tile, DenseTile)]
    runs = list(_runs([tile for tile in tiles if isinstance(tile, SparseTile)]))
    n_genes = tiles[0].n_genes
    lowest, highest, n_missing = _ranges(dense, runs, n_genes, n_cells)
    step = None if bits is None else scale(lowest, highest, bits)
    zero = np.zeros(n_genes, "<f4" if bits is None else CODE_DTYPE[bits])
    if step is not None:
        zero_lies_within = (lowest <= 0) & (highest >= 0)
        zero[zero_lies_within] = np.rint(-lowest * step)[zero_lies_within]
    vectors = np.empty((n_genes, n_cells), zero.dtype)
    if runs:
        vectors[:] = zero[:, None]
    for tile in dense:
        _place_dense(vectors, tile, lowest, step, bits)
    for run in runs:
        _place_run(vectors, run, lowest, step, bits)
    return GeneVectors(vectors, lowest, highest, n_missing)


@dataclass(frozen=True)
class _Run:
    """Values of one or more tiles in a row; a segment is what a tile holds of a gene.

    Attributes
    ----------
    first_gene, n_genes
        The genes that the segments go through, over and over, tile after tile.
    first_cell
        (n_segments,): the cell that `cells` count from.
    counts
        (n_segments,): values of each segment.
    """

    first_gene: int
    n_genes: int
    first_cell: Array
    counts: Array
    cells: Array
    values: Array


def _runs(tiles: Sequence[SparseTile]) -> Iterator[_Run]:
    """Join small tiles and cut large ones, to runs of about `RUN_VALUES` values."""
    held: list[SparseTile] = []
    n_held = 0
    for tile in tiles:
        n_values = len(tile.values)
        if n_values > RUN_VALUES:
            yield from _cut(tile)
            continue
        if held and n_held + n_values > RUN_VALUES:
            yield _join(held)
            held, n_held = [], 0
        held.append(tile)
        n_held += n_values
    if held:
        yield _join(held)


def _join(tiles: Sequence[SparseTile]) -> _Run:
    n_genes = tiles[0].n_genes
    return _Run(
        0,
        n_genes,
        np.repeat(np.array([tile.first_cell for tile in tiles], np.int64), n_genes),
        np.concatenate([np.diff(tile.indptr) for tile in tiles]),
        np.concatenate([tile.cells for tile in tiles]),
        np.concatenate([tile.values for tile in tiles]),
    )


def _cut(tile: SparseTile) -> Iterator[_Run]:
    for start in range(0, len(tile.values), RUN_VALUES):
        stop = min(start + RUN_VALUES, len(tile.values))
        first = int(np.searchsorted(tile.indptr, start, side="right")) - 1
        last = int(np.searchsorted(tile.indptr, stop, side="left"))
        counts = np.diff(np.clip(tile.indptr[first : last + 1], start, stop))
        cells, values = tile.cells[start:stop], tile.values[start:stop]
        base = np.full(last - first, tile.first_cell, np.int64)
        yield _Run(first, last - first, base, counts, cells, values)


def _ranges(
    dense: Iterable[DenseTile], runs: Iterable[_Run], n_genes: int, n_cells: int
) -> tuple[Array, Array, Array]:
    """Finite minimum and maximum of every gene, zeros included, and its missing values."""
    lowest = np.full(n_genes, np.inf, np.float32)
    highest = np.full(n_genes, -np.inf, np.float32)
    n_stored = np.zeros(n_genes, np.int64)
    n_missing = np.zeros(n_genes, np.int64)
    for run in runs:
        here = slice(run.first_gene, run.first_gene + run.n_genes)
        least, most, missing = _run_ranges(run)
        lowest[here] = np.minimum(lowest[here], least)
        highest[here] = np.maximum(highest[here], most)
        n_missing[here] += missing
        n_stored[here] += run.counts.reshape(-1, run.n_genes).sum(axis=0)
    for tile in dense:
        least, most, missing = _dense_ranges(tile)
        np.minimum(lowest, least, out=lowest)
        np.maximum(highest, most, out=highest)
        n_missing += missing
        n_stored += tile.n_cells
    has_zeros = n_stored < n_cells
    lowest[has_zeros] = np.minimum(lowest[has_zeros], 0)
    highest[has_zeros] = np.maximum(highest[has_zeros], 0)
    nothing_finite = lowest > highest
    lowest[nothing_finite] = highest[nothing_finite] = 0
    return lowest.astype(np.float64) + 0.0, highest.astype(np.float64) + 0.0, n_missing


def _dense_ranges(tile: DenseTile) -> tuple[Array, Array, Array]:
    values = tile.values
    least, most = values.min(axis=1).astype(np.float32), values.max(axis=1).astype(np.float32)
    missing = np.zeros(tile.n_genes, np.int64)
    for gene in np.flatnonzero(~(np.isfinite(least) & np.isfinite(most))):
        finite = values[gene][np.isfinite(values[gene])]
        missing[gene] = tile.n_cells - len(finite)
        least[gene] = finite.min(initial=np.inf)
        most[gene] = finite.max(initial=-np.inf)
    return least, most, missing


def _run_ranges(run: _Run) -> tuple[Array, Array, Array]:
    filled = np.flatnonzero(run.counts)
    starts = (np.cumsum(run.counts) - run.counts)[filled]
    values = run.values

    def fold(reduce: np.ufunc, values: Array, empty: float) -> Array:
        segments = np.full(len(run.counts), empty, np.float32)
        if len(filled):
            segments[filled] = reduce.reduceat(values, starts)
        by_gene: Array = reduce.reduce(segments.reshape(-1, run.n_genes), axis=0)
        return by_gene

    least, most = fold(np.minimum, values, np.inf), fold(np.maximum, values, -np.inf)
    if not (np.isnan(least) | np.isneginf(least) | np.isposinf(most)).any():
        return least, most, np.zeros(run.n_genes, np.int64)
    finite = np.isfinite(values)
    missing = np.zeros(len(run.counts), np.int64)
    missing[filled] = np.add.reduceat(~finite, starts, dtype=np.int64)
    return (
        fold(np.minimum, np.where(finite, values, np.inf), np.inf),
        fold(np.maximum, np.where(finite, values, -np.inf), -np.inf),
        missing.reshape(-1, run.n_genes).sum(axis=0),
    )


def _place_dense(
    vectors: Array, tile: DenseTile, lowest: Array, step: Array | None, bits: int | None
) -> None:
    for row, values in enumerate(tile.values):
        for start in range(0, tile.n_cells, RUN_VALUES):
            run = values[start : start + RUN_VALUES]
            there = slice(tile.first_cell + start, tile.first_cell + start + len(run))
            if bits is None or step is None:
                vectors[row, there] = run + np.float32(0)  # no negative zeros
            else:
                vectors[row, there] = _codes(run, lowest[row], step[row], bits)


def _place_run(
    vectors: Array, run: _Run, lowest: Array, step: Array | None, bits: int | None
) -> None:
    genes = np.arange(run.first_gene, run.first_gene + run.n_genes)
    genes = np.tile(genes, len(run.counts) // max(run.n_genes, 1))
    position = np.repeat(genes * vectors.shape[1] + run.first_cell, run.counts)
    position += run.cells
    if bits is None or step is None:
        codes = run.values + np.float32(0)
    else:
        low, rate = lowest[genes], np.repeat(step[genes], run.counts)
        codes = _codes(run.values, np.repeat(low, run.counts) if low.any() else None, rate, bits)
    vectors.reshape(-1)[position] = codes


def _codes(values: Array, low: Any, rate: Any, bits: int) -> Array:
    """Round to the nearest code, in float64; the marker for what is not finite.

    `low` is ``None`` where it is zero, as in most genes: each step that is left out is one
    less in which threads wait for one another.
    """
    with np.errstate(invalid="ignore"):  # infinity times a constant gene's zero
        exact: Array = np.multiply(values if low is None else values - low, rate, dtype=np.float64)
    np.rint(exact, out=exact)
    finite = np.isfinite(exact)
    if not finite.all():
        exact[~finite] = MISSING_CODE[bits]
    return exact.astype(CODE_DTYPE[bits])
