"""Detection of a changed source without reading all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dask.base import tokenize
from zlib_ng import zlib_ng

from cellucid_dask.store.location import Location
from cellucid_dask.store.retry import with_retries

# Properties that file systems and stores report of a file and that change with its content.
_STATE = ("size", "mtime", "ETag", "LastModified", "md5Hash", "updated", "etag",
          "last_modified")  # fmt: skip
# Arrays that are not in memory are sampled: number of samples, and values of each.
_N_SAMPLES, _SAMPLE_VALUES = 16, 4096


def of_files(location: Location, others: Sequence[str] = ()) -> str:
    """Return a digest of the size and age of a file, or of every file in a folder.

    Parameters
    ----------
    location
        Of the file or folder.
    others
        Local files and folders that are linked to.
    """
    states = [_state(each) for each in (location, *map(Location, others))]
    return str(tokenize(states if others else states[0]))


def _state(location: Location) -> list[tuple[str, ...]]:
    fs, path = location.filesystem, location.path()
    files = with_retries(lambda: fs.find(path, detail=True))
    if not isinstance(files, Mapping) or not files:  # adlfs lists a single file
        files = {path: with_retries(lambda: fs.info(path))}
    return sorted(
        (name.removeprefix(path), *(str(info.get(key)) for key in _STATE))
        for name, info in files.items()
    )


def checksum(array: Any) -> int:
    """Return the CRC-32 of an ndarray, or of evenly spaced samples of any other array."""
    length = array.shape[0]
    if isinstance(array, np.ndarray):
        rows = [(0, length)]
    else:
        count = max(_SAMPLE_VALUES // max(int(np.prod(array.shape[1:])), 1), 1)
        starts = np.unique(np.linspace(0, max(length - count, 0), _N_SAMPLES, dtype=np.int64))
        rows = [(int(start), min(int(start) + count, length)) for start in starts]
    crc = 0
    for start, stop in rows:
        crc = zlib_ng.crc32(np.ascontiguousarray(array[start:stop]).data.cast("B"), crc)
    return crc
