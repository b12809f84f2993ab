"""Counting the values of tiles, before any of them is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from cellucid_dask.encode.quantize import EXACT
from cellucid_dask.encode.tiles import DenseTile, Tile
from cellucid_dask.types import Array

_SAMPLE = 1000


class GeneCounts(NamedTuple):
    """What the values of some genes are.

    Attributes
    ----------
    n_values
        int64, (n_genes,): number of values that are not zero.
    n_bad
        int64, (n_genes,): number of those that are NaN or infinite.
    largest
        The largest absolute value that is finite, of those that may be large.
    whole
        Whether all values are whole numbers.
    """

    n_values: Array
    n_bad: Array
    largest: float = 0.0
    whole: bool = True

    @classmethod
    def none(cls, n_genes: int) -> Self:
        """Return the counts of genes without values."""
        return cls(np.zeros(n_genes, np.int64), np.zeros(n_genes, np.int64))

    @classmethod
    def of(cls, tile: Tile) -> Self:
        """Count the values of a tile."""
        values = tile.values
        if not values.size:
            return cls.none(tile.n_genes)
        lowest, highest = values.min(), values.max()  # NaN if one is
        has_zeros = not (lowest > 0 or highest < 0)
        n_values = _per_gene(tile, values != 0 if has_zeros else None)
        if values.dtype.kind != "f":
            return cls(n_values, np.zeros_like(n_values))  # of at most 16 bits
        numbers, n_bad = values, np.zeros_like(n_values)
        if not np.isfinite([lowest, highest]).all():
            finite = np.isfinite(values)
            numbers, n_bad = values[finite], _per_gene(tile, ~finite)
            lowest, highest = numbers.min(initial=0), numbers.max(initial=0)
        sample = numbers.reshape(-1)[:_SAMPLE]
        whole = bool(np.all(sample == np.rint(sample)) and np.all(numbers == np.rint(numbers)))
        return cls(n_values, n_bad, max(float(highest), -float(lowest)), whole)

    def beside(self, other: GeneCounts) -> GeneCounts:
        """Add counts of the same genes in other cells."""
        return GeneCounts(
            self.n_values + other.n_values,
            self.n_bad + other.n_bad,
            max(self.largest, other.largest),
            self.whole and other.whole,
        )

    @classmethod
    def joined(cls, parts: Sequence[GeneCounts]) -> GeneCounts:
        """Join the counts of consecutive genes."""
        return GeneCounts(
            np.concatenate([each.n_values for each in parts]),
            np.concatenate([each.n_bad for each in parts]),
            max(each.largest for each in parts),
            all(each.whole for each in parts),
        )

    @property
    def exceeds_float32(self) -> bool:
        """Whether these are counts of which float32 may not represent the largest."""
        return self.whole and self.largest > EXACT


class Counting:
    """Counts the values of the tiles of some genes as they pass."""

    def __init__(self, n_genes: int) -> None:
        self.counts = GeneCounts.none(n_genes)

    def __call__(self, tiles: Iterable[Tile]) -> Iterator[Tile]:
        """Pass tiles on."""
        for tile in tiles:
            self.counts = self.counts.beside(GeneCounts.of(tile))
            yield tile


def _per_gene(tile: Tile, chosen: Array | None) -> Array:
    """Count chosen values: bool, in the shape of the tile's; all if omitted."""
    if isinstance(tile, DenseTile):
        counts = [tile.n_cells] * tile.n_genes if chosen is None else np.count_nonzero(chosen, 1)
        return np.array(counts, np.int64)
    indptr = np.asarray(tile.indptr, np.int64)
    if chosen is None or chosen.all():
        return np.diff(indptr)
    before = np.concatenate(([0], np.cumsum(chosen)))
    by_gene: Array = np.diff(before[indptr])
    return by_gene
