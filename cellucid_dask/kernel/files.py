"""Local files, many in one call of the kernel.

Where the kernel ends early, the caller reads or writes the next file by itself, which says what is
wrong, or takes it for one that was altered. Then it goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ctypes import Array as CArray
from ctypes import c_char_p, c_void_p

import numpy as np

from cellucid_dask.kernel.library import address, checked, library
from cellucid_dask.types import Array

_ALIGNED = 8  # bytes: where the kernel puts each range that it reads
_PIECE = 2**16  # bytes that the kernel adds to a checksum at once


def read_ranges(ranges: Sequence[tuple[str, int, int]]) -> list[Array]:
    """Read ranges of files.

    Parameters
    ----------
    ranges
        Path, first byte and the byte after the last of each.

    Returns
    -------
    list of ndarray
        uint8: the content of each, aligned for numbers of any size; of fewer ranges than asked
        where one cannot be read.
    """
    starts = np.array([start for _, start, _ in ranges], np.int64)
    lengths = np.array([stop for _, _, stop in ranges], np.int64) - starts
    ends = np.cumsum(lengths + -lengths % _ALIGNED)
    contents = np.empty(int(ends[-1]), np.uint8)
    n_read = library().cellucid_read(
        _texts([path for path, _, _ in ranges]),
        address(starts), address(lengths), len(ranges), address(contents),
    )  # fmt: skip
    firsts = [0, *ends.tolist()]
    sizes = lengths[:n_read].tolist()
    return [contents[at : at + size] for at, size in zip(firsts, sizes, strict=False)]


def write_files(
    unfinished: Sequence[str], paths: Sequence[str], contents: Sequence[bytes | memoryview]
) -> int:
    """Write files under names that nobody else uses, and rename each once it is whole.

    Parameters
    ----------
    unfinished, paths, contents
        First and final path of each, and its bytes.

    Returns
    -------
    int
        How many have been written, in order, before one that could not be.
    """
    views = [np.frombuffer(each, np.uint8) for each in contents]
    pointers = (c_void_p * len(views))(*map(address, views))
    sizes = np.array([each.size for each in views], np.int64)
    return int(
        library().cellucid_write(
            _texts(unfinished), _texts(paths), pointers, address(sizes), len(views)
        )
    )


class Checksum:
    """A checksum of 64 bits of bytes that come in parts, with the methods of hashlib's."""

    def __init__(self) -> None:
        self._sum, self._rest = 0, b""

    def update(self, data: bytes) -> None:
        """Add a part."""
        data = self._rest + data
        whole = len(data) - len(data) % _PIECE
        self._sum, self._rest = _add(self._sum, data[:whole]), data[whole:]

    def hexdigest(self) -> str:
        """Return the checksum of all parts in hexadecimal."""
        return f"{_add(self._sum, self._rest):016x}"


def checksum(data: bytes | memoryview) -> str:
    """Return the `Checksum` of bytes in hexadecimal."""
    return f"{_add(0, data):016x}"


def _add(state: int, data: bytes | memoryview) -> int:
    values = np.frombuffer(data, np.uint8)
    return int(library().cellucid_add(state, address(values), values.size))


def file_checksums(paths: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Return the checksums of files of some sizes, the same as of their contents.

    Of fewer files than asked where one is not there, is no ordinary file, or has another size.
    """
    expected, sums = np.array(sizes, np.int64), np.empty(len(paths), np.uint64)
    n_done = library().cellucid_sum_files(
        _texts(paths), address(expected), len(paths), address(sums)
    )
    return [f"{each:016x}" for each in sums[: checked(n_done, "")].tolist()]


def _texts(paths: Sequence[str]) -> CArray[c_char_p]:
    if any("\0" in path for path in paths):
        raise ValueError("embedded null byte")  # as `open` does; C would see the path end there
    return (c_char_p * len(paths))(*map(os.fsencode, paths))
