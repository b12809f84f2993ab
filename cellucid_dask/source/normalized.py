"""A matrix of counts that is normalized block by block as it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed

from cellucid_dask.encode.normalize import check_totals, counts_of, log1p_cp10k, row_totals
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.source.matrix import Blocks, Matrix, Storage
from cellucid_dask.types import Array


@dataclass(frozen=True)
class NormalizedMatrix:
    """Cells x genes of log1p counts per ten thousand.

    Blocks of whole rows know their own totals. Where a block holds some of the genes only,
    a pass over the matrix finds the totals of all cells first, a few blocks at once.

    Attributes
    ----------
    counts
        The matrix itself.
    layer
        What errors call it.
    at_once
        Blocks that the first pass reads at once.
    """

    counts: Matrix
    layer: str
    at_once: int
    _found: list[Array] = field(default_factory=list, repr=False)  # totals, once they are known

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.counts.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the normalized values."""
        return np.dtype(np.float32)

    @property
    def storage(self) -> Storage:
        """As that of the counts."""
        return self.counts.storage

    @property
    def fixed_blocks(self) -> Blocks | None:
        """Those of the counts."""
        return self.counts.fixed_blocks

    @property
    def totals_nbytes(self) -> int:
        """Bytes that totals of all cells take, with those of the blocks of the first pass."""
        return 0 if self.storage == "csr" else 8 * self.shape[0] * (1 + self.at_once)

    @property
    def work_nbytes(self) -> int:
        """Bytes a value takes while it is normalized: itself, its float64, and what it becomes."""
        return 2 * self.counts.dtype.itemsize + 12

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the normalized matrix as a Dask array of these blocks."""
        counts = self.counts.dask(blocks)
        options: dict[str, Any] = {
            "dtype": self.dtype, "meta": _like(counts), "layer": self.layer,
        }  # fmt: skip
        if len(blocks[1]) == 1:
            whole: da.Array = da.map_blocks(_by_own_totals, counts, **options)
            return whole
        totals = da.from_array(self._totals(counts)[:, None], chunks=(blocks[0], 1))
        some: da.Array = da.map_blocks(_by_totals, counts, totals, **options)
        return some

    def _totals(self, counts: da.Array) -> Array:
        if self._found:
            return self._found[0]
        totals = np.zeros(self.shape[0])
        starts = np.cumsum((0, *counts.chunks[0]))
        tasks = [
            (int(starts[i]), delayed(_totals_of, pure=False)(block, self.layer))
            for (i, _), block in np.ndenumerate(counts.to_delayed())
        ]
        for first in range(0, len(tasks), self.at_once):
            some = tasks[first : first + self.at_once]
            found = run_all((task for _, task in some), self.at_once)
            for (start, _), tile in zip(some, found, strict=True):
                totals[start : start + len(tile)] += tile
        self._found.append(check_totals(totals, self.layer))
        return totals


def _like(counts: da.Array) -> Any:
    return counts._meta.astype(np.float32)  # noqa: SLF001  the kind of its blocks


def _totals_of(block: Any, layer: str) -> Array:
    return row_totals(counts_of(block, layer))


def _by_own_totals(block: Any, layer: str) -> Any:
    counts = counts_of(block, layer)
    return log1p_cp10k(counts, check_totals(row_totals(counts), layer))


def _by_totals(block: Any, totals: Array, layer: str) -> Any:
    return log1p_cp10k(counts_of(block, layer), totals[:, 0])
