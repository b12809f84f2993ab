"""A scratch folder: on a local disk or in a store, and removed whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cellucid_dask.errors import ExportError, ExportWarning, RequestError
from cellucid_dask.store import open_store
from cellucid_dask.store.failures import Failure, failure_of, reason
from cellucid_dask.store.owner import is_running, this_process
from cellucid_dask.store.preflight import check_writable
from cellucid_dask.store.retry import with_retries
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import is_async, read_ranges
from cellucid_dask.types import Array

_PREFIX = "cellucid-dask-scratch-"
_OWNER = "owner.json"


@dataclass(frozen=True)
class Scratch:
    """A folder for parts, on a local disk or, by URL, in a store that all workers reach."""

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the folder is a local path."""
        return "://" not in self.url

    def _path(self, name: str) -> str:
        return f"{self.url}/{name}"

    def write(self, name: str, arrays: Iterable[Array]) -> None:
        """Write contiguous arrays, one after the other, to a file of their own."""
        with self._failing_plainly("written"), self._open(name) as out:
            for array in arrays:
                out.write(array.data.cast("B"))

    def _open(self, name: str) -> Any:
        if self.is_local:
            return open(self._path(name), "wb")  # noqa: PTH123  faster than fsspec's
        fs, root = open_store(self.url, self.storage_options)
        return fs.open(f"{root}/{name}", "wb")

    @contextmanager
    def _failing_plainly(self, done: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            known = isinstance(error, OSError) or failure_of(error) is not Failure.OTHER
            if isinstance(error, ExportError | RequestError) or not known:
                raise
            why = reason(error, self.storage_options)
            raise ExportError(
                f"Scratch at {self.url} could not be {done} ({why}): "
                "free some space there or name another place with --scratch."
            ) from error

    def nbytes(self) -> int:
        """Return the size of all that was written so far."""
        fs, path = open_store(self.url, self.storage_options)
        fs.invalidate_cache()  # others wrote there
        with self._failing_plainly("listed"):
            return int(with_retries(lambda: fs.du(path)))

    def read(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Read byte ranges ``(file, start, stop)``."""
        if not self.is_local:
            fs, root = open_store(self.url, self.storage_options)
            with self._failing_plainly("read"):
                wanted = [(f"{root}/{file}", start, stop) for file, start, stop in ranges]
                return read_ranges(fs, wanted)
        return list(self._read_local(ranges))

    def _read_local(self, ranges: Sequence[tuple[str, int, int]]) -> Iterator[bytes]:
        name, descriptor = None, -1
        try:
            for file, start, stop in ranges:
                if file != name:
                    if name is not None:
                        os.close(descriptor)
                    name, descriptor = file, os.open(self._path(file), os.O_RDONLY)
                data = os.pread(descriptor, stop - start, start)
                if len(data) != stop - start:
                    raise ExportError(f"Scratch at {self.url} was cut short while in use.")
                yield data
        finally:
            if name is not None:
                os.close(descriptor)


@contextmanager
def open_scratch(
    where: str | None, beside: str | None, needed: int, storage_options: Mapping[str, Any]
) -> Iterator[Scratch]:
    """Make a scratch folder, and remove it whatever happens.

    Parameters
    ----------
    where
        The directory or URL asked for; ``None`` for the system's.
    beside
        A local directory to fall back on when the system's has too little room or is
        held in memory.
    needed
        Bytes the export will put there.
    """
    if where is not None and "://" in where and not where.startswith("file://"):
        yield from _remote(where, storage_options)
        return
    parent = _roomy([where.removeprefix("file://")] if where else _system(beside), needed)
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        (folder / _OWNER).write_text(json.dumps(this_process()))
        yield Scratch(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remote(where: str, storage_options: Mapping[str, Any]) -> Iterator[Scratch]:
    scratch = Scratch(f"{where.rstrip('/')}/{_PREFIX}{uuid.uuid4().hex}", storage_options)
    fs, path = open_store(scratch.url, storage_options)
    if not is_async(fs):  # object stores have no folders
        fs.makedirs(path, exist_ok=True)
    check_writable(Target(scratch.url, storage_options))
    try:
        yield scratch
    finally:
        fs.invalidate_cache()  # others wrote there
        try:
            with suppress(FileNotFoundError):
                with_retries(lambda: fs.rm(path, recursive=True))
        except Exception as error:  # noqa: BLE001  must not hide how the export ended
            why = reason(error, storage_options)
            warnings.warn(
                f"Scratch at {scratch.url} could not be removed ({why}): remove it yourself.",
                ExportWarning,
                stacklevel=2,
            )


def _system(beside: str | None) -> list[str]:
    return [tempfile.gettempdir(), *([beside] if beside else [])]


def _roomy(candidates: Sequence[str], needed: int) -> str:
    """Return the first directory with room on a real disk, else the first with room."""
    usable = [each for each in candidates if Path(each).is_dir() and os.access(each, os.W_OK)]
    if not usable:
        raise RequestError(f"Scratch {candidates[0]} is not a directory that can be written to.")
    roomy = [each for each in usable if shutil.disk_usage(each).free >= needed]
    if not roomy:
        most = max(shutil.disk_usage(each).free for each in usable)
        raise RequestError(
            f"Scratch needs {needed / 1e9:.2f} GB, and {' and '.join(usable)} "
            f"has {most / 1e9:.2f} GB free: name a larger disk with --scratch."
        )
    return next((each for each in roomy if not _in_memory(each)), roomy[0])


def _in_memory(path: str) -> bool:
    """Whether files there live in RAM, where scratch would break the memory budget."""
    real, best = os.path.realpath(path), ("", "")
    for disk in psutil.disk_partitions(all=True):
        inside = os.path.commonpath([real, disk.mountpoint]) == disk.mountpoint
        if inside and len(disk.mountpoint) >= len(best[0]):
            best = (disk.mountpoint, disk.fstype)
    return best[1] in {"tmpfs", "ramfs"}


def _sweep(parent: str) -> None:
    """Remove what dead runs of this host left behind."""
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError, KeyError):
            owner = json.loads((folder / _OWNER).read_text())
            if is_running(owner) is False:
                shutil.rmtree(folder, ignore_errors=True)
