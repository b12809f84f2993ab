"""Where an export goes: a local folder, or a prefix of any fsspec store."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store import open_store
from cellucid_dask.store.failures import Failure, explain, failure_of
from cellucid_dask.store.retry import with_retries
from cellucid_dask.store.transfer import Uploads, content_type, headers


@dataclass(frozen=True)
class Target:
    """A folder or prefix; names inside are relative, with ``/``.

    Attributes
    ----------
    url
        A local path, or a URL such as ``s3://bucket/atlas``.
    storage_options
        fsspec options; never logged or stored.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, target: str | os.PathLike[str], storage_options: Mapping[str, Any]) -> Target:
        """Return the target at a path or URL."""
        url = os.fspath(target)
        if "://" in url and not url.startswith("file://"):
            return cls(url.rstrip("/"), dict(storage_options))
        path = Path(url.removeprefix("file://")).expanduser().absolute()
        return cls(str(path), dict(storage_options))

    @property
    def is_local(self) -> bool:
        """Whether the target is a local folder."""
        return "://" not in self.url

    @property
    def parent(self) -> str | None:
        """The local folder that the target lies in, or ``None``."""
        return os.path.dirname(self.url) if self.is_local else None  # noqa: PTH120

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.url.rstrip("/").rpartition("/")[2]

    @cached_property
    def store(self) -> tuple[Any, str]:
        """The file system and the target's path in it."""
        return open_store(self.url, self.storage_options)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open store behind: each process opens its own."""
        return {"url": self.url, "storage_options": self.storage_options}

    def path(self, name: str) -> str:
        """Return the path of a file in the store."""
        return f"{self.store[1]}/{name}"

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
        with self._failing_plainly():
            if self.is_local:
                Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
                with open(self.path(name), "wb") as out:  # noqa: PTH123
                    yield out
            else:
                kind = headers(self.store[0], content_type(name))
                with self.store[0].open(self.path(name), "wb", **kind) as out:
                    yield out

    def publish(self, name: str, data: bytes) -> None:
        """Write a file that readers look for: it appears whole or not at all."""
        if not self.is_local:
            self.put({name: data})
            return
        with self._failing_plainly():
            beside = f"{self.url}/.{name}.{os.getpid()}.part"
            write_local(beside, data)
            os.replace(beside, f"{self.url}/{name}")  # noqa: PTH105

    @contextmanager
    def _failing_plainly(self, done: str = "written to") -> Iterator[None]:
        try:
            yield
        except (ExportError, RequestError):
            raise
        except Exception as error:  # stores raise errors of their own
            raise ExportError(
                f"{explain(error, self.url, done, self.storage_options)} "
                "What is there does not look like an export; mend that and go on with --resume."
            ) from error

    def read(self, name: str) -> bytes | None:
        """Read a file; ``None`` when there is none."""
        with self._failing_plainly("read"):
            try:
                return bytes(with_retries(lambda: self.store[0].cat_file(self.path(name))))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, in one step where the store can; say whether."""
        with self._failing_plainly():
            try:
                if self.is_local:
                    write_local(f"{self.url}/{name}", data, anew=True)
                else:
                    path = self.path(name)
                    with_retries(lambda: self.store[0].pipe_file(path, data, mode="create"))
            except FileExistsError:
                return self.read(name) == data  # an earlier try may have been heard
            except OSError as error:
                if error.errno == errno.EINVAL:  # how S3 says that its condition does not hold
                    there = self.read(name)
                    if there is not None:
                        return there == data
                raise
        return True

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Read files, many at once where the store can; those that are gone are left out."""
        if not names:
            return []
        with self._failing_plainly("read"):
            paths = {self.path(name): name for name in names}
            found = self.store[0].cat(list(paths), on_error="return")
            read = (
                self.read(paths[path]) if isinstance(data, Exception) else bytes(data)
                for path, data in found.items()
            )
            return [data for data in read if data is not None]

    def files(self, folder: str) -> dict[str, tuple[int, str | None]]:
        """Return size, and MD5 where the store tells one, of every file in a folder."""
        with self._failing_plainly("listed"):
            entries = with_retries(partial(self._list, f"{self.store[1]}/{folder}"))
        return {
            f"{folder}/{str(entry['name']).rpartition('/')[2]}": (int(entry["size"]), _md5(entry))
            for entry in entries
            if entry["type"] == "file"
        }

    def remove_if_empty(self, folder: str) -> None:
        """Remove a local folder that holds nothing, and the target too if it then holds nothing."""
        if self.is_local:
            with suppress(OSError):
                Path(self.url, folder).rmdir()
                Path(self.url).rmdir()

    def names(self, *folders: str) -> set[str]:
        """Return the names of the files at the top and in some folders."""
        found = set()
        for folder in ("", *folders):
            prefix = f"{folder}/" if folder else ""
            found |= {prefix + name for name in self._entries(folder, "file")}
        return found

    def folders(self) -> set[str]:
        """Return the names of the folders at the top."""
        return self._entries("", "directory")

    def _entries(self, folder: str, kind: str) -> set[str]:
        with self._failing_plainly("listed"):
            entries = with_retries(lambda: self._list(f"{self.store[1]}/{folder}".rstrip("/")))
        names = {str(each["name"]).rstrip("/") for each in entries if each["type"] == kind}
        return {name.rpartition("/")[2] for name in names}

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(self.store[0].ls(path, detail=True, refresh=True))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def fetch(self, wanted: Mapping[str, int]) -> dict[str, bytes | Exception]:
        """Read files, many at once where the store can.

        Parameters
        ----------
        wanted
            Names, and how many bytes to read of each at the most.

        Returns
        -------
        dict
            By name what the file holds, or the error that kept it back.
        """
        if self.is_local:
            return {name: _read(f"{self.url}/{name}", most) for name, most in wanted.items()}
        fs, _ = self.store
        paths, ends = [self.path(name) for name in wanted], list(wanted.values())
        found = fs.cat_ranges(paths, [0] * len(paths), ends, on_error="return")
        for i, data in enumerate(found):
            if isinstance(data, Exception) and failure_of(data) is Failure.TRANSIENT:
                found[i] = self._fetch_again(paths[i], ends[i])
        return dict(zip(wanted, found, strict=True))

    def _fetch_again(self, path: str, most: int) -> bytes | Exception:
        try:
            return bytes(with_retries(lambda: self.store[0].cat_file(path, start=0, end=most)))
        except Exception as error:  # noqa: BLE001  stores raise errors of their own
            return error

    def tree(self) -> dict[str, int] | None:
        """Return the sizes of all files below, by name; ``None`` where a store has no lists."""
        fs, root = self.store
        if "http" in fs.protocol or "https" in fs.protocol:
            return None
        fs.invalidate_cache()
        try:
            found = with_retries(lambda: fs.find(root, detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except Exception as error:
            raise ExportError(explain(error, self.url, "listed", self.storage_options)) from error
        return {
            str(path).removeprefix(f"{root}/"): int(entry["size"])
            for path, entry in found.items()
            if str(path).startswith(f"{root}/")
        }

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as they are there."""
        paths = [self.path(name) for name in names]
        if paths:
            with self._failing_plainly():
                with_retries(lambda: self._remove(paths))

    def _remove(self, paths: list[str]) -> None:
        try:
            self.store[0].rm(paths)
        except FileNotFoundError:  # an earlier try got some of them
            for path in paths:
                with suppress(FileNotFoundError):
                    self.store[0].rm_file(path)


class Writer:
    """A context in which files are written; leaving it waits until all are there."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._uploads = None if target.is_local else Uploads(target.store[0])

    def put(self, name: str, data: bytes) -> None:
        """Write a file, or begin to."""
        with self._target._failing_plainly():  # noqa: SLF001
            if self._uploads is None:
                write_local(f"{self._target.url}/{name}", data)
            else:
                path = self._target.path(name)
                self._uploads.put(path, data, content_type(name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._uploads is not None:
            with self._target._failing_plainly():  # noqa: SLF001
                self._uploads.__exit__(*raised)


def _md5(entry: Mapping[str, Any]) -> str | None:
    """Find a file's MD5 in what a store says of it: S3's ETag; GCS and Azure give base64."""
    for key in ("md5Hash", "content_md5"):
        if given := entry.get(key):
            return (base64.b64decode(given) if isinstance(given, str) else bytes(given)).hex()
    tag = entry.get("ETag")
    return str(tag).strip('"') if tag else None


def write_local(path: str, data: bytes, *, anew: bool = False) -> None:
    """Write a local file, and make its folder if there is none; `anew`, refuse to replace one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if anew else os.O_TRUNC)
    try:
        file = os.open(path, flags, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, flags, 0o666)
    try:
        left = memoryview(data)
        while left:  # a disk that fills up takes a part first, and fails at the next
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _read(path: str, most: int) -> bytes | Exception:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(min(most, os.fstat(file.fileno()).st_size))
    except OSError as error:
        return error


# What a run keeps in the target until it is complete; never part of an export.
RUN_DIR = ".cellucid-dask"
