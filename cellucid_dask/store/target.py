"""The folder or prefix that an export is written to."""

from __future__ import annotations

import base64
import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

from cellucid_dask.store.durable import flush_file_system
from cellucid_dask.store.local import write_local
from cellucid_dask.store.local_writer import LocalWriter
from cellucid_dask.store.location import MAX_BYTES, Location
from cellucid_dask.store.retry import with_retries
from cellucid_dask.store.transfer import Uploads, content_type, headers

# What a run keeps in the target until it is complete; never part of an export.
RUN_DIR = ".cellucid-dask"


class _Fence(Protocol):
    """Asked before anything is written, and where local files lie until they are whole."""

    @property
    def folder(self) -> str: ...

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
        advice = "What is there does not look like an export; mend that and go on with --resume."
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

    def writer(self) -> Writer:
        """Return a context that writes many files, side by side where the store can."""
        return Writer(self)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files that no manifest names yet, many at once where the store can."""
        with self.writer() as out:
            for name, data in files.items():
                out.put(name, data)

    @contextmanager
    def stream(self, name: str) -> Iterator[Any]:
        """Open a file that no manifest names yet, to write it piece by piece."""
        with self.explaining_writes():
            if self.is_local:
                with self.local_writer.open(name) as out:
                    yield out
            else:
                options = headers(self.filesystem, content_type(name))
                with self.filesystem.open(self.path(name), "wb", **options) as out:
                    yield out

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

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, in one step where the store can; say whether."""
        with self.explaining_writes():
            try:
                if self.is_local:
                    Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
                    write_local(self.path(name), data, exclusive=True)
                else:
                    path = self.path(name)
                    with_retries(lambda: self.filesystem.pipe_file(path, data, mode="create"))
            except FileExistsError:
                return self.read(name) == data  # an earlier try may have succeeded unnoticed
            except OSError as error:
                if error.errno == errno.EINVAL:  # how S3 says that its condition does not hold
                    existing = self.read(name)
                    if existing is not None:
                        return existing == data
                raise
        return True

    def read_many(self, names: Iterable[str]) -> list[bytes]:
        """Read files, many at once where the store can; those that are missing are left out."""
        contents = (
            self.read(name) if isinstance(data, Exception) else data
            for name, data in self.fetch(dict.fromkeys(names, MAX_BYTES)).items()
        )
        return [data for data in contents if data is not None]

    def files(self, folder: str = "") -> dict[str, tuple[int, str | None]]:
        """Return size, and MD5 where the store gives one, of every file in a folder, by name."""
        prefix = f"{folder}/" if folder else ""
        return {
            prefix + name: (int(entry["size"] or 0), _md5(entry))
            for name, entry in self._list(folder, "file")
        }

    def names(self, *folders: str) -> set[str]:
        """Return the names of the files at the top and in some folders."""
        return {name for folder in ("", *folders) for name in self.files(folder)}

    def folders(self, folder: str = "") -> set[str]:
        """Return the names of the folders in a folder, by default at the top."""
        return {name for name, _ in self._list(folder, "directory")}

    def _list(self, folder: str, kind: str) -> list[tuple[str, dict[str, Any]]]:
        path = self.path(folder)
        with self.explaining("listed"):
            try:
                self.filesystem.invalidate_cache()  # adlfs knows no other way
                entries = with_retries(lambda: self.filesystem.ls(path, detail=True, refresh=True))
            except (FileNotFoundError, NotADirectoryError):
                return []
        return [
            (str(entry["name"]).rstrip("/").rpartition("/")[2], entry)
            for entry in entries
            if entry["type"] == kind
        ]

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as they exist."""
        if not (names := list(names)):
            return
        with self.explaining_writes():
            if self.is_local:
                self.local_writer.remove(names)
            else:
                paths = [self.path(name) for name in names]
                with_retries(lambda: self._remove(paths))

    def _remove(self, paths: list[str]) -> None:
        try:
            self.filesystem.rm(paths)
        except FileNotFoundError:  # an earlier try removed some of them
            for path in paths:
                with suppress(FileNotFoundError):
                    self.filesystem.rm_file(path)

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
        self._uploads = None if target.is_local else Uploads(target.filesystem)

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a file, or begin to."""
        with self._target.explaining_writes():
            if self._uploads is None:
                self._local.write(name, data)
            else:
                self._uploads.put(self._target.path(name), bytes(data), content_type(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._uploads is not None:
            with self._target.explaining_writes():
                self._uploads.__exit__(*raised)


def _md5(entry: Mapping[str, Any]) -> str | None:
    """Find a file's MD5 in its entry of a listing: S3's ETag; GCS and Azure give base64."""
    for key in ("md5Hash", "content_md5"):
        if given := entry.get(key):
            return (base64.b64decode(given) if isinstance(given, str) else bytes(given)).hex()
    tag = entry.get("ETag")
    return str(tag).strip('"') if tag else None
