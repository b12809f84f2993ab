"""Detection of a changed source without reading all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from dask.base import tokenize
from zlib_ng import zlib_ng

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import Location

_METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zattrs")
# Arrays that are not in memory are sampled: number of samples, and values of each.
_N_SAMPLES, _SAMPLE_VALUES = 16, 4096


@contextmanager
def watched(source: Any) -> Iterator[Callable[[], None]]:
    """Watch the files of a source while the block runs; a source in memory has none.

    Yields
    ------
    A check that they have not changed, which raises an `ExportError`. It is made too when the
    block fails, for a change explains what went wrong.
    """
    state = getattr(source, "state", lambda: None)
    before = state()

    def check() -> None:
        if state() != before:
            raise ExportError(
                f"{source.location} has changed while it was exported, and what was written is of "
                "two versions: wait until nothing writes to it, then start again with --force."
            )

    try:
        yield check
    except RequestError:
        raise
    except Exception:
        check()
        raise


def of_files(location: Location, others: Sequence[str] = ()) -> str:
    """Return a digest of the size and age of a file, or of every file in a folder.

    If the store does not list the folder, only the metadata of a Zarr group are looked at.

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
    # of the folder itself, not of a single file, which some stores list
    listed = [] if location.is_web else _allowed(location, lambda: location.entries(below=True))
    states = {entry.path: entry for entry in listed or [] if entry.path} or {
        name: entry
        for name in ("", *_METADATA)
        if (entry := _allowed(location, partial(location.info, name))) is not None
    }
    return sorted((name, str(entry.size), *entry.state) for name, entry in states.items())


def _allowed(location: Location, call: Callable[[], Any]) -> Any:
    """Call, and return ``None`` if there is nothing or it may not be seen."""
    with location.explaining("read"):
        try:
            return call()
        except Exception as error:
            if failure_of(error) in (Failure.DENIED, Failure.MISSING):
                return None
            raise


def checksum(array: Any) -> int:
    """Return the CRC-32 of an ndarray, or of evenly spaced samples of any other array."""
    length = array.shape[0]
    if isinstance(array, np.ndarray):
        rows = [(0, length)]
    else:
        count = max(_SAMPLE_VALUES // max(math.prod(array.shape[1:]), 1), 1)
        starts = np.unique(np.linspace(0, max(length - count, 0), _N_SAMPLES, dtype=np.int64))
        rows = [(int(start), min(int(start) + count, length)) for start in starts]
    crc = 0
    for start, stop in rows:
        crc = zlib_ng.crc32(np.ascontiguousarray(array[start:stop]).data.cast("B"), crc)
    return crc
