"""Checksums of tiles."""

from __future__ import annotations

import numpy as np

from cellucid_dask.encode.kernel_tiles import Tiles
from cellucid_dask.encode.tiles import DenseTile, SparseTile


def _sums(cells: list[int], values: list[float]) -> list[int]:
    indptr = np.array([0, 40, 40, len(cells)])
    tile = SparseTile(0, 200, indptr, np.array(cells, np.uint16), np.array(values, np.float32))
    (sums,) = Tiles([tile]).sums().tolist()
    return list(sums)


def test_a_checksum_belongs_to_cells_values_and_their_order() -> None:
    cells, values = [*range(40), *range(90)], [float(i) for i in range(130)]
    before = _sums(cells, values)
    for change in range(40, 130):
        other_values = values.copy()
        other_values[change] = -values[change] - 1
        other_cells = cells.copy()
        other_cells[change] += 100
        for after in (_sums(cells, other_values), _sums(other_cells, values)):
            assert after[:2] == before[:2]
            assert after[2] != before[2]
    signs = values.copy()
    signs[50], signs[58] = -signs[50], -signs[58]  # the highest bits of two words
    swapped = values.copy()
    swapped[50], swapped[51] = swapped[51], swapped[50]
    assert len({before[2], _sums(cells, signs)[2], _sums(cells, swapped)[2]}) == 3


def test_dense_tiles_have_checksums_too() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    before = Tiles([DenseTile(0, values)]).sums()
    values[1, 2] += 1
    after = Tiles([DenseTile(0, values)]).sums()
    assert (before != after).tolist() == [[False, True, False]]
