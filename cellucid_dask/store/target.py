"""The folder or prefix that an export is written to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from cellucid_dask.errors import ExportError
from cellucid_dask.kernel.files import checksum
from cellucid_dask.store.client import Asked
from cellucid_dask.store.durable import flush_file_system
from cellucid_dask.store.local import file_names, write_local
from cellucid_dask.store.local_writer import LocalWriter
from cellucid_dask.store.location import MAX_BYTES, Location
from cellucid_dask.store.transfer import call, content_type, delete

# What a run keeps in the target until it is complete; never part of an export.
RUN_DIR = ".cellucid-dask"


class _Fence(Protocol):
    """Asked before anything is written, and where local files lie until they are whole."""

    @property
    def folder(self) -> str: ...

    def is_due(self) -> bool:
        """Whether it must be asked again."""

    def check(self, target: Target, *, now: bool = False) -> None:
        """Raise if the target is no longer this run's."""


class Target(Location):
    """A location with what writing an export needs.

    Attributes
    ----------
    fence
        Of the run that has a lease on it, for this process and those of its workers.
    """

    fence: _Fence | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Take the fence along to other processes."""
        state = super().__getstate__()
        return state if self.fence is None else {**state, "fence": self.fence}

    @contextmanager
    def explaining_writes(self) -> Iterator[None]:
        """Turn errors of writing inside the block into an `ExportError` that says how to go on.

        Raises
        ------
        ExportError
            Another run has taken the target over.
        """
        if self.fence is not None:
            self.fence.check(self)
        with self.explaining_uploads():
            yield

    @contextmanager
    def explaining_uploads(self) -> Iterator[None]:
        """Do as `explaining_writes`, and ask for the lease only where something was missing."""
        advice = "What is there does not look like an export; fix that and continue with --resume."
        with self.explaining("written to", advice):
            try:
                yield
            except FileNotFoundError:
                if self.fence is not None:
                    self.fence.check(self, now=True)
                raise

    @property
    def local_writer(self) -> LocalWriter:
        """What changes the files of a local target."""
        return LocalWriter(self.url, self.fence.folder if self.fence is not None else None)

    @property
    def asked(self) -> Asked | None:
        """The fence, for uploads of this target."""
        fence = self.fence
        if fence is None:
            return None
        return Asked(fence.is_due, lambda: fence.check(self, now=True))

    def writer(self) -> Writer:
        """Return a context that writes many files, side by side where the store can."""
        return Writer(self)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files that no manifest names yet, many at once where the store can."""
        with self.writer() as out:
            out.put(files)
        self._take_back(files)

    def _take_back(self, names: Iterable[str]) -> None:
        """Remove what a run that was paused meanwhile has created for itself in a store.

        Its successor has cleared the rest of that, and may have ended.
        """
        if self.fence is None or self.is_local or not self.fence.is_due():
            return
        try:
            self.fence.check(self)
        except ExportError:
            unfenced = Target(self.url, self.storage_options)
            unfenced.remove(name for name in names if name.startswith(f"{RUN_DIR}/"))
            raise

    @contextmanager
    def stream(self, name: str) -> Iterator[Any]:
        """Open a file that no manifest names yet, to write it piece by piece."""
        with self.explaining_writes():
            if self.is_local:
                with self.local_writer.open(name) as out:
                    yield out
            else:
                with self.client.open_writer(self.path(name), content_type(name)) as out:
                    yield out
                    if self.fence is not None:  # no client makes the end of it conditional
                        self.fence.check(self, now=True)

    def publish(self, name: str, data: bytes) -> None:
        """Write a file that readers look for."""
        if not self.is_local:
            self.put({name: data})
            return
        with self.explaining_writes():
            self.local_writer.write(name, data, flush=True)

    def flush(self) -> None:
        """Wait until all that was written to a local target is on the disk."""
        if self.is_local:
            with self.explaining("written to"):
                flush_file_system(Path(self.url))

    def begin_flush(self) -> None:
        """Let the disk of a local target begin to write, beside what comes before `flush`."""

        def begin() -> None:
            with suppress(OSError):  # explained by `flush`
                flush_file_system(Path(self.url))

        if self.is_local:
            threading.Thread(target=begin, daemon=True, name="cellucid-dask-flush").start()

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, in one step where the store can; say whether."""
        with self.explaining_writes():
            try:
                if self.is_local:
                    Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
                    write_local(self.path(name), data, exclusive=True)
                else:
                    client, path = self.client, self.path(name)
                    call(client, lambda: client.create(path, data, content_type(name)))
            except FileExistsError:
                return self.read(name) == data  # an earlier try may have succeeded unnoticed
        return True

    def read_many(self, names: Iterable[str]) -> list[bytes]:
        """Read files, many at once where the store can; those that are missing are left out."""
        contents = (
            self.read(name) if isinstance(data, Exception) else data
            for name, data in self.fetch(dict.fromkeys(names, MAX_BYTES)).items()
        )
        return [data for data in contents if data is not None]

    def tag(self, data: bytes | memoryview) -> str:
        """Return what tells at little cost whether a file still has a content.

        This is the MD5 of an object, which stores report, and a faster checksum of a local file.
        """
        if self.is_local:
            return checksum(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def files(self, folder: str = "") -> dict[str, tuple[int, str | None]]:
        """Return size, and MD5 where the store gives one, of every file in a folder, by name."""
        prefix = f"{folder}/" if folder else ""
        with self.explaining("listed"):
            return {
                prefix + entry.path: (entry.size, entry.md5)
                for entry in self.entries(folder)
                if not entry.is_folder
            }

    def names(self, *folders: str) -> set[str]:
        """Return the names of the files at the top and in some folders."""
        return {name for folder in ("", *folders) for name in self._names(folder)}

    def _names(self, folder: str) -> Iterable[str]:
        if not self.is_local:
            return self.files(folder)
        prefix = f"{folder}/" if folder else ""
        with self.explaining("listed"), suppress(FileNotFoundError, NotADirectoryError):
            return [prefix + name for name in file_names(self.path(folder))]
        return []

    def folders(self, folder: str = "") -> set[str]:
        """Return the names of the folders in a folder, by default at the top."""
        with self.explaining("listed"):
            return {entry.path for entry in self.entries(folder) if entry.is_folder}

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as they exist."""
        if not (names := list(names)):
            return
        with self.explaining_writes():
            if self.is_local:
                self.local_writer.remove(names)
            else:
                delete(self.client, [self.path(name) for name in names])

    def remove_if_empty(self, folder: str) -> None:
        """Remove a local folder that is empty, and the target too if it then is empty."""
        if self.is_local:
            with suppress(OSError):
                Path(self.url, folder).rmdir()
                Path(self.url).rmdir()


class Writer:
    """A context in which files are written; leaving it waits until all are there."""

    def __init__(self, target: Target) -> None:
        self._target, self._local = target, target.local_writer
        self._uploads = None
        if not target.is_local:
            from cellucid_dask.store.uploads import Uploads  # noqa: PLC0415  slow to import

            self._uploads = Uploads(target.client, target.asked)

    def put(self, files: Mapping[str, bytes | memoryview]) -> None:
        """Write files, or begin to."""
        with self._target.explaining_writes():
            if self._uploads is None:
                self._local.write_all(files)
                return
            for name, data in files.items():
                self._uploads.put(self._target.path(name), bytes(data), content_type(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._uploads is not None:
            with self._target.explaining_uploads():  # not one is under way when it is left
                self._uploads.__exit__(*raised)
