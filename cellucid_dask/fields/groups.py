"""Sums, distances and ranks within groups of cells, for all groups in one pass over the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_TILE_ROWS = 2**14  # rows computed at a time: few enough to stay in the processor's cache

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """Cells by group.

    Attributes
    ----------
    codes
        Group of each cell, (n_cells,); `n_groups` or more for cells in none.
    n_groups
        Number of groups.
    order
        The cells of group 0, in ascending order, then those of group 1, and so on,
        without cells in no group.
    counts
        Number of cells of each group, (n_groups,).
    starts
        Index into `order` of the first cell of each group, (n_groups,).
    block_rows
        Rows of values that are read at a time.
    """

    codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    n_groups: int
    order: npt.NDArray[Any]
    counts: Integers
    starts: Integers
    block_rows: int = 2**17

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
        """Return the sum of the rows of each group.

        Parameters
        ----------
        values
            (n_cells, k).
        chosen
            Mask of the cells to count, (n_cells,); None for all.

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
        """Return the Euclidean distance of each cell from the center of its group.

        Parameters
        ----------
        values
            (n_cells, k).
        centers
            (n_groups, k).

        Returns
        -------
        ndarray
            (n_cells,), undefined for cells in no group.
        """
        nowhere = np.zeros((1, centers.shape[1]))
        columns = np.ascontiguousarray(np.concatenate([centers, nowhere]).T)
        squares = np.zeros(values.shape[0])
        for rows, codes, tile in self._tiles(values, None):
            for column, numbers in enumerate(tile):
                difference = numbers - columns[column].take(codes)
                difference *= difference
                squares[rows] += difference
        return np.sqrt(squares, out=squares)

    def slices(self, min_cells: int) -> Iterator[slice]:
        """Iterate over the slices of `order` of the groups with at least `min_cells` cells."""
        for group in np.flatnonzero(self.counts >= min_cells):
            start = int(self.starts[group])
            yield slice(start, start + int(self.counts[group]))

    def quantiles(self, values: Floats, share: float, min_cells: int) -> Floats:
        """Return a quantile of each group, interpolated as numpy does.

        Parameters
        ----------
        values
            (n_cells,).
        share
            Which quantile, from 0 to 1.
        min_cells
            Number of cells that a group needs to have one.

        Returns
        -------
        ndarray
            (n_groups,), NaN for groups that are too small.
        """
        ordered = values[self.order]
        for group in self.slices(min_cells):
            ordered[group].sort()
        result = np.full(self.n_groups, np.nan)
        large = self.counts >= max(min_cells, 1)
        last = self.counts[large] - 1
        position = last * share
        below = np.floor(position).astype(np.intp)
        rest = position - below
        lower = ordered[self.starts[large] + below]
        upper = ordered[self.starts[large] + np.minimum(below + 1, last)]
        step = upper - lower
        result[large] = np.where(rest < 0.5, lower + step * rest, upper - step * (1 - rest))
        return result

    def relative_ranks(self, values: Floats, min_cells: int) -> npt.NDArray[np.float32]:
        """Return the rank of each cell in its group over the size of the group.

        Equal values share the highest of their ranks.

        Parameters
        ----------
        values
            (n_cells,).
        min_cells
            Number of cells that a group needs for its cells to be ranked.

        Returns
        -------
        ndarray
            float32, (n_cells,): above 0, up to 1; NaN for cells that are not ranked.
        """
        ranks = np.full(values.shape[0], np.nan, dtype="<f4")
        for group in self.slices(min_cells):
            cells = self.order[group]
            ranks[cells] = _ranks(values[cells]) / cells.size
        return ranks

    def _tiles(
        self, values: npt.NDArray[np.floating], chosen: npt.NDArray[np.bool_] | None
    ) -> Iterator[tuple[slice, Integers, Floats]]:
        """Iterate over tiles of cells: their rows, their groups, and their values by column."""
        for first in range(0, self.codes.size, self.block_rows):
            block = values[first : first + self.block_rows]
            for start in range(0, len(block), _TILE_ROWS):
                tile = block[start : start + _TILE_ROWS]
                rows = slice(first + start, first + start + len(tile))
                codes = np.minimum(self.codes[rows], self.n_groups).astype(np.intp)
                if chosen is not None:
                    codes[~chosen[rows]] = self.n_groups
                yield rows, codes, np.array(tile.T, dtype=np.float64, order="C")


def _ranks(values: Floats) -> Integers:
    order = np.argsort(values)
    ordered = values[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    last = np.flatnonzero(is_last) + 1
    ranks = np.empty(values.size, dtype=np.intp)
    ranks[order] = np.repeat(last, np.diff(last, prepend=0))
    return ranks
