"""Tiles -> one vector of codes (or float32) per gene.

All genes and tiles of a batch are processed together: a step is one numpy call over tens of
thousands of values instead of one call per gene, so that threads run in parallel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.quantize import CODE_DTYPE, MISSING_CODE, scale
from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile
from cellucid_dask.types import Array

# Values processed at once: the working memory of a step, some 40 bytes per value, mostly stays in
# cache, and calls are few enough that threads seldom wait for Python's lock.
RUN_VALUES = 2**17


@dataclass(frozen=True)
class GeneVectors:
    """The vectors of some genes, with the range of each.

    Attributes
    ----------
    vectors
        (n_genes, n_cells) codes ``<u1`` or ``<u2``, or float32 ``<f4``.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values.
    n_missing
        int64, (n_genes,): number of values that are NaN or infinite.
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
        Tiles of the same genes that together cover every cell once (values missing from a
        sparse tile are zero).
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
        in_range = (lowest <= 0) & (highest >= 0)
        zero[in_range] = np.rint(-lowest * step)[in_range]
    vectors = np.empty((n_genes, n_cells), zero.dtype)
    if runs:
        vectors[:] = zero[:, None]
    for tile in dense:
        _write_dense(vectors, tile, lowest, step, bits)
    for run in runs:
        _scatter_run(vectors, run, lowest, step, bits)
    return GeneVectors(vectors, lowest, highest, n_missing)


@dataclass(frozen=True)
class _Run:
    """Values of one or more consecutive tiles, in segments: the values of one gene in one tile.

    Attributes
    ----------
    first_gene, n_genes
        The genes of the segments; the segments of each tile go through all of them in order.
    first_cell
        int64, (n_segments,): the cell that `cells` are relative to.
    counts
        int, (n_segments,): number of values in each segment.
    cells, values
        (n_values,): as in the tiles.
    """

    first_gene: int
    n_genes: int
    first_cell: Array
    counts: Array
    cells: Array
    values: Array


def _runs(tiles: Sequence[SparseTile]) -> Iterator[_Run]:
    """Join small tiles and cut large ones into runs of about `RUN_VALUES` values."""
    pending: list[SparseTile] = []
    n_pending = 0
    for tile in tiles:
        n_values = len(tile.values)
        if n_values > RUN_VALUES:
            yield from _cut(tile)
            continue
        if pending and n_pending + n_values > RUN_VALUES:
            yield _join(pending)
            pending, n_pending = [], 0
        pending.append(tile)
        n_pending += n_values
    if pending:
        yield _join(pending)


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
        first_cell = np.full(last - first, tile.first_cell, np.int64)
        yield _Run(first, last - first, first_cell, counts, cells, values)


def _ranges(
    dense: Iterable[DenseTile], runs: Iterable[_Run], n_genes: int, n_cells: int
) -> tuple[Array, Array, Array]:
    """Return the finite minimum and maximum of each gene, zeros included, and `n_missing`."""
    lowest = np.full(n_genes, np.inf, np.float32)
    highest = np.full(n_genes, -np.inf, np.float32)
    n_stored = np.zeros(n_genes, np.int64)
    n_missing = np.zeros(n_genes, np.int64)
    for run in runs:
        genes = slice(run.first_gene, run.first_gene + run.n_genes)
        run_lowest, run_highest, run_missing = _run_ranges(run)
        lowest[genes] = np.minimum(lowest[genes], run_lowest)
        highest[genes] = np.maximum(highest[genes], run_highest)
        n_missing[genes] += run_missing
        n_stored[genes] += run.counts.reshape(-1, run.n_genes).sum(axis=0)
    for tile in dense:
        tile_lowest, tile_highest, tile_missing = _dense_ranges(tile)
        np.minimum(lowest, tile_lowest, out=lowest)
        np.maximum(highest, tile_highest, out=highest)
        n_missing += tile_missing
        n_stored += tile.n_cells
    has_zeros = n_stored < n_cells
    lowest[has_zeros] = np.minimum(lowest[has_zeros], 0)
    highest[has_zeros] = np.maximum(highest[has_zeros], 0)
    nothing_finite = lowest > highest
    lowest[nothing_finite] = highest[nothing_finite] = 0
    return lowest.astype(np.float64) + 0.0, highest.astype(np.float64) + 0.0, n_missing


def _dense_ranges(tile: DenseTile) -> tuple[Array, Array, Array]:
    values = tile.values
    lowest, highest = values.min(axis=1).astype(np.float32), values.max(axis=1).astype(np.float32)
    n_missing = np.zeros(tile.n_genes, np.int64)
    for gene in np.flatnonzero(~(np.isfinite(lowest) & np.isfinite(highest))):
        finite = values[gene][np.isfinite(values[gene])]
        n_missing[gene] = tile.n_cells - len(finite)
        lowest[gene] = finite.min(initial=np.inf)
        highest[gene] = finite.max(initial=-np.inf)
    return lowest, highest, n_missing


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

    lowest, highest = fold(np.minimum, values, np.inf), fold(np.maximum, values, -np.inf)
    if not (np.isnan(lowest) | np.isneginf(lowest) | np.isposinf(highest)).any():
        return lowest, highest, np.zeros(run.n_genes, np.int64)
    finite = np.isfinite(values)
    n_missing = np.zeros(len(run.counts), np.int64)
    n_missing[filled] = np.add.reduceat(~finite, starts, dtype=np.int64)
    return (
        fold(np.minimum, np.where(finite, values, np.inf), np.inf),
        fold(np.maximum, np.where(finite, values, -np.inf), -np.inf),
        n_missing.reshape(-1, run.n_genes).sum(axis=0),
    )


def _write_dense(
    vectors: Array, tile: DenseTile, lowest: Array, step: Array | None, bits: int | None
) -> None:
    for row, values in enumerate(tile.values):
        for start in range(0, tile.n_cells, RUN_VALUES):
            run = values[start : start + RUN_VALUES]
            cells = slice(tile.first_cell + start, tile.first_cell + start + len(run))
            if bits is None or step is None:
                vectors[row, cells] = run + np.float32(0)  # no negative zeros
            else:
                vectors[row, cells] = _codes(run, lowest[row], step[row], bits)


def _scatter_run(
    vectors: Array, run: _Run, lowest: Array, step: Array | None, bits: int | None
) -> None:
    genes = np.arange(run.first_gene, run.first_gene + run.n_genes)
    genes = np.tile(genes, len(run.counts) // max(run.n_genes, 1))
    positions = np.repeat(genes * vectors.shape[1] + run.first_cell, run.counts)
    positions += run.cells
    if bits is None or step is None:
        codes = run.values + np.float32(0)
    else:
        offsets = lowest[genes]
        repeated = np.repeat(offsets, run.counts) if offsets.any() else None
        codes = _codes(run.values, repeated, np.repeat(step[genes], run.counts), bits)
    vectors.reshape(-1)[positions] = codes


def _codes(values: Array, lowest: Any, step: Any, bits: int) -> Array:
    """Round to the nearest code, in float64; values that are not finite become the missing code.

    `lowest` is ``None`` where it is zero, as in most genes: each step left out is one less in
    which threads wait for one another.
    """
    shifted = values if lowest is None else values - lowest
    with np.errstate(invalid="ignore"):  # infinity times a constant gene's zero
        exact: Array = np.multiply(shifted, step, dtype=np.float64)
    np.rint(exact, out=exact)
    finite = np.isfinite(exact)
    if not finite.all():
        exact[~finite] = MISSING_CODE[bits]
    return exact.astype(CODE_DTYPE[bits])
