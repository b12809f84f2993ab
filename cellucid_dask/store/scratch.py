"""A scratch folder, on a local disk or in a store, that is removed however the export ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from cellucid_dask.errors import ExportWarning, RequestError
from cellucid_dask.store.failures import reason
from cellucid_dask.store.location import Location
from cellucid_dask.store.owner import is_left_by_the_dead, owner_tag
from cellucid_dask.store.preflight import check_writable
from cellucid_dask.store.transfer import call, delete
from cellucid_dask.types import Array

_PREFIX = "cellucid-dask-scratch-"


class Scratch(Location):
    """A temporary folder on a local disk or, by URL, in a store that all workers reach."""

    def explain(self, error: BaseException, done: str, name: str = "") -> str:
        """Say in a sentence why it could not be `done` ("read")."""
        return (
            f"Scratch at {super().explain(error, done, name)} "
            "Another scratch folder is named with --scratch."
        )

    def write(self, name: str, arrays: Iterable[Array]) -> None:
        """Write contiguous arrays, one after the other, to a file of their own."""
        with self.explaining("written to"), self._open(name) as out:
            for array in arrays:
                out.write(array.data.cast("B"))

    def _open(self, name: str) -> Any:
        if self.is_local:
            return open(self.path(name), "wb")  # noqa: PTH123  faster than fsspec's
        return self.client.open_writer(self.path(name), "application/octet-stream")

    def nbytes(self) -> int:
        """Return the size of all that was written so far."""
        with self.explaining("listed"):
            return sum(entry.size for entry in self.entries(below=True))

    def clear(self) -> None:
        """Remove the folder with all that is in it."""
        client, path = self.client, self.path()
        delete(client, [f"{path}/{entry.path}" for entry in self.entries(below=True)])
        call(client, lambda: client.delete_folder(path))


@contextmanager
def open_scratch(
    path: str | None, beside: str | None, needed: int | None, storage_options: Mapping[str, Any]
) -> Iterator[Scratch | None]:
    """Make a scratch folder, and remove it at the end of the block.

    Parameters
    ----------
    path
        The directory or URL asked for; ``None`` for the system's directory.
    beside
        A local directory to fall back on when the system's has too little space or is
        in memory.
    needed
        Bytes the export will write there; ``None`` if it needs no scratch.

    Raises
    ------
    RequestError
        It cannot be written to, or has too little space.
    """
    parent = None if path is None else Location.of(path, storage_options)
    is_remote = parent is not None and not parent.is_local
    folders = [parent.url] if parent else [tempfile.gettempdir(), *([beside] if beside else [])]
    if parent and is_remote:
        _clear_dead(parent)
    else:
        _clear_dead_local(folders)
    if needed is None:
        yield None
        return
    if parent and is_remote:
        yield from _open_remote(parent)
        return
    chosen = _choose(folders, needed)
    folder = Path(chosen, _new_name())
    folder.mkdir(mode=0o700)
    try:
        yield Scratch(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_dead_local(folders: Sequence[str]) -> None:
    """Remove what runs left there that were killed, also if this one writes nothing there."""
    for folder in folders:
        with suppress(OSError):
            for stale in _left_by_the_dead(os.listdir(folder)):  # noqa: PTH208  names alone
                shutil.rmtree(Path(folder, stale), ignore_errors=True)


def _clear_dead(parent: Location) -> None:
    """Remove what runs left in a store that were killed."""
    with suppress(Exception):  # there may be no such folder yet, or no right to list it
        found = [entry.path for entry in parent.entries() if entry.is_folder]
        for stale in _left_by_the_dead(found):
            Scratch(f"{parent.url}/{stale}", parent.storage_options).clear()


def _open_remote(parent: Location) -> Iterator[Scratch]:
    scratch = Scratch(f"{parent.url}/{_new_name()}", parent.storage_options)
    call(scratch.client, lambda: scratch.client.make_folder(scratch.path()))
    check_writable(scratch)
    try:
        yield scratch
    finally:
        try:
            scratch.clear()
        except Exception as error:  # noqa: BLE001  must not hide how the export ended
            why = reason(error, scratch.storage_options, scratch.url)
            warnings.warn(
                f"Scratch at {scratch} could not be removed ({why}): remove it yourself.",
                ExportWarning,
                stacklevel=2,
            )


def _choose(folders: Sequence[str], needed: int) -> str:
    """Return the first directory with enough space on a real disk, else in memory."""
    usable = [each for each in folders if Path(each).is_dir() and os.access(each, os.W_OK)]
    if not usable:
        raise RequestError(f"Scratch {folders[0]} is not a directory that can be written to.")
    available = {each: shutil.disk_usage(each).free for each in usable}
    large = [each for each in usable if available[each] >= needed]
    if not large:
        raise RequestError(
            f"Scratch needs {needed / 1e9:.2f} GB, and {' and '.join(usable)} "
            f"has {max(available.values()) / 1e9:.2f} GB free: name a larger disk with --scratch."
        )
    return next((each for each in large if not _in_memory(each)), large[0])


def _in_memory(path: str) -> bool:
    """Whether files there are in memory, where scratch would break the memory budget."""
    real, best = os.path.realpath(path), ("", "")
    for disk in psutil.disk_partitions(all=True):
        inside = os.path.commonpath([real, disk.mountpoint]) == disk.mountpoint
        if inside and len(disk.mountpoint) >= len(best[0]):
            best = (disk.mountpoint, disk.fstype)
    return best[1] in {"tmpfs", "ramfs"}


def _new_name() -> str:
    return f"{_PREFIX}{owner_tag()}-{uuid.uuid4().hex[:8]}"


def _left_by_the_dead(names: Iterable[str]) -> list[str]:
    """Return the folders of runs of this system that were killed."""
    mine = [name for name in names if name.startswith(_PREFIX)]
    return [
        name for name in mine if is_left_by_the_dead(name.removeprefix(_PREFIX).rpartition("-")[0])
    ]
