"""Checksums of tiles, and reading ranges of local files in one call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellucid_dask.encode.kernel_tiles import Tiles, read_local
from cellucid_dask.encode.tiles import DenseTile, SparseTile


def test_ranges_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    (tmp_path / "b").write_bytes(b"xyz")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    found = read_local([(a, 3, 14), (a, 0, 8), (b, 1, 3), (b, 2, 2), (a, 99, 100)])
    assert len(found) == 5
    assert [part.tobytes() for part in found] == [
        bytes(range(3, 14)), bytes(range(8)), b"yz", b"", b"c",
    ]  # fmt: skip
    assert all(part.ctypes.data % 8 == 0 for part in found if part.size)


@pytest.mark.parametrize("kind", ["short", "missing", "link", "folder"])
def test_what_cannot_be_read_is_counted(tmp_path: Path, kind: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(bytes(8))
    if kind == "short":
        bad.write_bytes(bytes(7))
    elif kind == "link":
        bad.symlink_to(good)
    elif kind == "folder":
        bad.mkdir()
    found = read_local([(str(good), 0, 8), (str(bad), 0, 8), (str(good), 0, 8)])
    assert [part.tobytes() for part in found] == [bytes(8)]


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
