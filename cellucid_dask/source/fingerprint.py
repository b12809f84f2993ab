"""Detection of a changed source without reading all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from dask.base import tokenize
from zlib_ng import zlib_ng

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import Location
from cellucid_dask.store.retry import with_retries

# Properties that file systems and stores report of a file and that change with its content.
_STATE = ("size", "mtime", "ETag", "LastModified", "md5Hash", "updated", "etag",
          "last_modified", "Last-Modified")  # fmt: skip
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
                "two versions: wait until nothing writes to it, then start anew with --force."
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
    location.filesystem.invalidate_cache()
    files = _listed(location) or {
        name: info for name in ("", *_METADATA) if (info := _info(location, name)) is not None
    }
    return sorted((name, *(str(info.get(key)) for key in _STATE)) for name, info in files.items())


def _listed(location: Location) -> dict[str, Mapping[str, Any]]:
    """Return what the store knows of each file; nothing where it does not list them."""
    if location.is_web:
        return {}
    fs, path = location.filesystem, location.path()
    files = _allowed(location, lambda: fs.find(path, detail=True))
    if not isinstance(files, Mapping):  # adlfs lists a single file
        return {}
    return {str(name).removeprefix(path): info for name, info in files.items()}


def _info(location: Location, name: str) -> Any:
    return _allowed(location, lambda: location.filesystem.info(location.path(name)))


def _allowed(location: Location, call: Callable[[], Any]) -> Any:
    """Call, and return ``None`` if there is nothing or it may not be seen."""
    with location.explaining("read"):
        try:
            return with_retries(call)
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
        count = max(_SAMPLE_VALUES // max(int(np.prod(array.shape[1:])), 1), 1)
        starts = np.unique(np.linspace(0, max(length - count, 0), _N_SAMPLES, dtype=np.int64))
        rows = [(int(start), min(int(start) + count, length)) for start in starts]
    crc = 0
    for start, stop in rows:
        crc = zlib_ng.crc32(np.ascontiguousarray(array[start:stop]).data.cast("B"), crc)
    return crc
