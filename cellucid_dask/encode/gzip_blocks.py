"""A long vector -> one file, compressed in blocks that tasks can make in parallel.

A gzip member is a sequence of deflate blocks, and blocks that do not refer to earlier data can
be compressed separately and joined; the checksum of the whole follows from those of the blocks.
Where a vector is cut must depend on the vector alone, because the bytes depend on it.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from zlib_ng import zlib_ng

from cellucid_dask.encode.compress import GZIP_HEADER
from cellucid_dask.types import Array

_LAST_BLOCK = b"\x03\x00"  # the shortest deflate block: empty, and marked as the last


@dataclass(frozen=True)
class GzipBlocks:
    """Consecutive values of a vector as they are stored.

    Attributes
    ----------
    data
        The plain bytes, or deflate blocks.
    size, checksum
        Length and CRC-32 of the plain bytes.
    """

    data: bytes
    size: int
    checksum: int


def compress_blocks(vector: Array, cuts: Sequence[int] | Array, level: int | None) -> GzipBlocks:
    """Encode consecutive values of a vector.

    Parameters
    ----------
    vector
        (n,), little-endian.
    cuts
        int, ascending from 0 to n: deflate starts without history at each.
    level
        gzip level 1-9, or ``None`` for the plain bytes.
    """
    payload = np.ascontiguousarray(vector).data.cast("B")
    checksum = zlib_ng.crc32(payload)
    if level is None:
        return GzipBlocks(bytes(payload), len(payload), checksum)
    ends = np.unique(cuts) * vector.itemsize
    blocks = []
    for start, stop in itertools.pairwise(ends):
        deflate = zlib_ng.compressobj(min(level + 1, 9), zlib_ng.DEFLATED, -15, 9)
        blocks.append(deflate.compress(payload[start:stop]))
        blocks.append(deflate.flush(zlib_ng.Z_SYNC_FLUSH))
    return GzipBlocks(b"".join(blocks), len(payload), checksum)


class Sink(Protocol):
    """A file that blocks are written to."""

    def write(self, data: bytes, /) -> Any: ...  # noqa: D102


class GzipWriter:
    """Writes the blocks of a vector, in order, as one file.

    Parameters
    ----------
    out
        The file.
    level
        As given to `compress_blocks`.

    Attributes
    ----------
    nbytes
        Bytes written so far.
    """

    def __init__(self, out: Sink, level: int | None) -> None:
        self.nbytes = 0
        self._out = out
        self._compressed = level is not None
        self._size = 0
        self._checksum = 0
        if self._compressed:
            self._write(GZIP_HEADER)

    def add(self, blocks: GzipBlocks) -> None:
        """Write the next blocks."""
        self._write(blocks.data)
        # CRC-32 is affine: advance the checksum over as many zeros, then add that of the blocks
        zeros = bytes(blocks.size)
        advanced = zlib_ng.crc32(zeros, self._checksum) ^ zlib_ng.crc32(zeros)
        self._checksum = advanced ^ blocks.checksum
        self._size += blocks.size

    def finish(self) -> None:
        """Write the end of the file."""
        if self._compressed:
            trailer = struct.pack("<LL", self._checksum, self._size & 0xFFFFFFFF)
            self._write(_LAST_BLOCK + trailer)

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self.nbytes += len(data)
