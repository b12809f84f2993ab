"""Sums, distances and ranks within groups of cells, in one sweep over all groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 2**17  # rows read at one time
_TILE = 2**14  # rows worked on: few enough to stay in the processor's cache

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """Which group every cell is in.

    Attributes
    ----------
    codes
        Group of every cell; `n_groups` or more for cells in none.
    n_groups
        How many groups there are.
    order
        The cells of group 0, in ascending order, then those of group 1, and so on;
        cells in no group left out.
    counts
        How many cells a group has.
    starts
        Where a group begins in `order`.
    """

    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    n_groups: int
    order: npt.NDArray[Any]
    counts: Integers
    starts: Integers

    @classmethod
    def of(cls, codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], n_groups: int) -> Groups:
        """Sort cells by group."""
        counts = np.bincount(codes, minlength=n_groups)[:n_groups]
        stops = np.cumsum(counts)
        total = int(stops[-1]) if n_groups else 0
        index_dtype = np.uint32 if codes.size < 2**32 else np.int64
        order = np.argsort(codes, kind="stable")[:total].astype(index_dtype)
        return cls(codes, n_groups, order, counts, stops - counts)

    def sums(
        self, values: npt.NDArray[np.floating], chosen: npt.NDArray[np.bool_] | None = None
    ) -> Floats:
        """Add up the rows of every group.

        Parameters
        ----------
        values
            (n_cells, k).
        chosen
            The cells to count; None for all.

        Returns
        -------
        ndarray
            (n_groups, k).
        """
        totals = np.zeros((values.shape[1], self.n_groups))
        for _, codes, weighted in self._tiles(values, chosen):
            for column, weights in enumerate(weighted):
                added = np.bincount(codes, weights=weights, minlength=self.n_groups + 1)
                totals[column] += added[: self.n_groups]
        return totals.T

    def distances(self, values: npt.NDArray[np.floating], centers: Floats) -> Floats:
        """Measure how far every cell is from the center of its group.

        Parameters
        ----------
        values
            (n_cells, k).
        centers
            (n_groups, k).

        Returns
        -------
        ndarray
            (n_cells,), without meaning for cells in no group.
        """
        nowhere = np.zeros((1, centers.shape[1]))
        columns = np.ascontiguousarray(np.concatenate([centers, nowhere]).T)
        squares = np.zeros(values.shape[0])
        for here, codes, measured in self._tiles(values, None):
            for column, numbers in enumerate(measured):
                difference = numbers - columns[column].take(codes)
                difference *= difference
                squares[here] += difference
        return np.sqrt(squares, out=squares)

    def slices(self, at_least: int) -> Iterator[slice]:
        """Walk over the groups of `at_least` cells: where each is in `order`."""
        for group in np.flatnonzero(self.counts >= at_least):
            start = int(self.starts[group])
            yield slice(start, start + int(self.counts[group]))

    def quantiles(self, values: Floats, share: float, at_least: int) -> Floats:
        """Find a quantile of every group, interpolated as numpy does.

        Parameters
        ----------
        values
            (n_cells,).
        share
            Which quantile, from 0 to 1.
        at_least
            How many cells a group needs to have one.

        Returns
        -------
        ndarray
            (n_groups,), NaN for groups that are too small.
        """
        ordered = values[self.order]
        for here in self.slices(at_least):
            ordered[here].sort()
        found = np.full(self.n_groups, np.nan)
        large = self.counts >= max(at_least, 1)
        last = self.counts[large] - 1
        position = last * share
        below = np.floor(position).astype(np.intp)
        rest = position - below
        low = ordered[self.starts[large] + below]
        high = ordered[self.starts[large] + np.minimum(below + 1, last)]
        step = high - low
        found[large] = np.where(rest < 0.5, low + step * rest, high - step * (1 - rest))
        return found

    def relative_ranks(self, values: Floats, at_least: int) -> npt.NDArray[np.float32]:
        """Rank every cell in its group, from just above 0 to 1; equals rank alike, high.

        Parameters
        ----------
        values
            (n_cells,).
        at_least
            How many cells a group needs for its cells to be ranked.

        Returns
        -------
        ndarray
            (n_cells,), NaN for cells that are not ranked.
        """
        ranks = np.full(values.shape[0], np.nan, dtype="<f4")
        for here in self.slices(at_least):
            cells = self.order[here]
            ranks[cells] = _ranks(values[cells]) / cells.size
        return ranks

    def _tiles(
        self, values: npt.NDArray[np.floating], chosen: npt.NDArray[np.bool_] | None
    ) -> Iterator[tuple[slice, Integers, Floats]]:
        """Walk over some cells at a time: their groups, and their values column by column."""
        for first in range(0, self.codes.size, _BLOCK):
            block = values[first : first + _BLOCK]
            for start in range(0, len(block), _TILE):
                tile = block[start : start + _TILE]
                here = slice(first + start, first + start + len(tile))
                codes = np.minimum(self.codes[here], self.n_groups).astype(np.intp)
                if chosen is not None:
                    codes[~chosen[here]] = self.n_groups
                yield here, codes, np.array(tile.T, dtype=np.float64, order="C")


def _ranks(values: Floats) -> Integers:
    order = np.argsort(values)
    ordered = values[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    last = np.flatnonzero(is_last) + 1
    ranks = np.empty(values.size, dtype=np.intp)
    ranks[order] = np.repeat(last, np.diff(last, prepend=0))
    return ranks
