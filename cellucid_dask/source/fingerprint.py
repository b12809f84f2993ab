"""Telling whether a source is still what it was, without reading all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.base import tokenize
from zlib_ng import zlib_ng

from cellucid_dask.store.location import Location
from cellucid_dask.store.retry import with_retries

# What file systems and stores tell of a file that changes with it.
_STATE = ("size", "mtime", "ETag", "LastModified", "md5Hash", "updated", "etag",
          "last_modified")  # fmt: skip
# Of arrays that are not in memory, so many stretches of so many values are looked at.
_STRETCHES, _STRETCH = 16, 4096


def of_files(location: Location) -> str:
    """Return a digest of size and age of a file, or of every file in a folder."""
    fs, path = location.filesystem, location.path()
    found = with_retries(lambda: fs.find(path, detail=True))
    if not isinstance(found, Mapping) or not found:  # adlfs lists a single file
        found = {path: with_retries(lambda: fs.info(path))}
    state = sorted(
        (name.removeprefix(path), *(str(info.get(key)) for key in _STATE))
        for name, info in found.items()
    )
    return str(tokenize(state))


def checksum(array: Any) -> int:
    """Return a CRC-32 of an array in memory, or of some evenly spread rows of one elsewhere."""
    length = array.shape[0]
    if isinstance(array, np.ndarray):
        rows = [(0, length)]
    else:
        count = max(_STRETCH // max(int(np.prod(array.shape[1:])), 1), 1)
        starts = np.unique(np.linspace(0, max(length - count, 0), _STRETCHES, dtype=np.int64))
        rows = [(int(start), min(int(start) + count, length)) for start in starts]
    found = 0
    for start, stop in rows:
        found = zlib_ng.crc32(np.ascontiguousarray(array[start:stop]).data.cast("B"), found)
    return found
