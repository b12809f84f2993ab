"""A vector -> the bytes of its file."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from zlib_ng import zlib_ng

from cellucid_dask.genes.parts import Array

# No name, no time, unknown system: the same bytes everywhere, always (RFC 1952).
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def encode(vector: Array, level: int | None, background: Any = None) -> bytes:
    """Return the vector's bytes, as one gzip member when there is a level.

    Parameters
    ----------
    vector
        Any one array, little-endian and C-contiguous.
    level
        gzip level 1-9, or ``None`` for the plain bytes.
    background
        The value most of the vector is expected to hold. Where it does, runs of it are
        all there is to find, and the deflate strategy made for runs is several times
        faster and smaller than the general one.
    """
    payload = memoryview(np.ascontiguousarray(vector)).cast("B")
    if level is None:
        return bytes(payload)
    return gzip_member(payload, level, _strategy(vector, background))


def gzip_member(payload: memoryview, level: int, strategy: int) -> bytes:
    """Compress into a gzip member without name and time."""
    deflate = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 9, strategy)
    body = deflate.compress(payload), deflate.flush()
    trailer = struct.pack("<LL", zlib_ng.crc32(payload), len(payload) & 0xFFFFFFFF)
    return b"".join((_GZIP_HEADER, *body, trailer))


def _strategy(vector: Array, background: Any) -> int:
    if background is None or vector.itemsize > 2:
        return int(zlib_ng.Z_DEFAULT_STRATEGY)
    density = np.count_nonzero(vector != background) / max(vector.size, 1)
    return int(zlib_ng.Z_RLE if density < 0.2 else zlib_ng.Z_HUFFMAN_ONLY)
