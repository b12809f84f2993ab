"""Where an export goes: a local folder, or a prefix of any fsspec store."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import fsspec

from cellucid_dask.errors import ExportError, RequestError

_PROBE = ".cellucid-dask-write-test"


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
    def name(self) -> str:
        """Last part of the path."""
        return self.url.rstrip("/").rpartition("/")[2]

    @cached_property
    def _store(self) -> tuple[Any, str]:
        try:
            fs, root = fsspec.core.url_to_fs(self.url, **self.storage_options)
        except ImportError as error:
            protocol = self.url.partition("://")[0]
            extra = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "az": "azure"}
            raise RequestError(
                f"{protocol}:// needs a package that is not installed: "
                f'pip install "cellucid-dask[{extra.get(protocol, protocol)}]".'
            ) from error
        except ValueError as error:
            raise RequestError(f"{self.url} is no target: {error}.") from error
        return fs, root.rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open store behind: each process opens its own."""
        return {"url": self.url, "storage_options": self.storage_options}

    def _path(self, name: str) -> str:
        return f"{self._store[1]}/{name}"

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files that no manifest names yet, many at once where the store can."""
        with self._failing_plainly():
            if self.is_local:
                for name, data in files.items():
                    _write(f"{self.url}/{name}", data)
            else:
                self._store[0].pipe({self._path(name): data for name, data in files.items()})

    @contextmanager
    def stream(self, name: str) -> Iterator[Any]:
        """Open a file that no manifest names yet, to write it piece by piece."""
        with self._failing_plainly():
            if self.is_local:
                Path(self._path(name)).parent.mkdir(parents=True, exist_ok=True)
                with open(self._path(name), "wb") as out:  # noqa: PTH123
                    yield out
            else:
                with self._store[0].open(self._path(name), "wb") as out:
                    yield out

    def publish(self, name: str, data: bytes) -> None:
        """Write a file that readers look for: it appears whole or not at all."""
        with self._failing_plainly():
            if self.is_local:
                beside = f"{self.url}/.{name}.{os.getpid()}.part"
                _write(beside, data)
                os.replace(beside, f"{self.url}/{name}")  # noqa: PTH105
            else:
                self._store[0].pipe_file(self._path(name), data)

    @contextmanager
    def _failing_plainly(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ExportError(
                f"{self.url} could not be written ({error.strerror or error}). "
                "What is there does not look like an export; mend that and go on with --resume."
            ) from error

    def read(self, name: str) -> bytes | None:
        """Read a file; ``None`` when there is none."""
        try:
            return bytes(self._store[0].cat_file(self._path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, in one step where the store can; say whether."""
        with self._failing_plainly():
            try:
                if self.is_local:
                    _write(f"{self.url}/{name}", data, "xb")
                else:
                    self._store[0].pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno == errno.EINVAL and self.read(name) is not None:
                    return False  # how S3 says that its condition does not hold
                raise
        return True

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Read files, many at once where the store can; those that are gone are left out."""
        if not names:
            return []
        fs = self._store[0]
        found = fs.cat([self._path(name) for name in names], on_error="omit")
        return [bytes(data) for data in found.values()]

    def files(self, folder: str) -> dict[str, tuple[int, str | None]]:
        """Return size, and MD5 where the store tells one, of every file in a folder."""
        fs, root = self._store
        try:
            entries = fs.ls(f"{root}/{folder}", detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
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
        fs, root = self._store
        try:
            entries = fs.ls(f"{root}/{folder}".rstrip("/"), detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        names = {str(each["name"]).rstrip("/") for each in entries if each["type"] == kind}
        return {name.rpartition("/")[2] for name in names}

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        paths = [self._path(name) for name in names]
        if paths:
            self._store[0].rm(paths)

    def check_writable(self) -> None:
        """Write and remove a small file, so that a wrong target fails now and not in an hour.

        Raises
        ------
        RequestError
            Saying what is wrong with the place or the credentials.
        """
        fresh = self.is_local and not Path(self.url).exists()
        try:
            if self.is_local:
                _write(f"{self.url}/{_PROBE}", b"")
                Path(self.url, _PROBE).unlink()
            else:
                self._store[0].pipe_file(self._path(_PROBE), b"test")
                self._store[0].rm_file(self._path(_PROBE))
        except RequestError:
            raise
        except FileNotFoundError as error:
            raise RequestError(
                f"{self.url}: the bucket does not exist; create it first."
            ) from error
        except NotADirectoryError as error:
            raise RequestError(
                f"{self.url} is a file, or lies under one: name a folder."
            ) from error
        except PermissionError as error:
            raise RequestError(
                f"{self.url} may not be written to: check its permissions or your credentials."
            ) from error
        except Exception as error:  # stores raise errors of their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise RequestError(f"{self.url} cannot be written to: {reason}") from error
        if fresh:
            Path(self.url).rmdir()


def _md5(entry: Mapping[str, Any]) -> str | None:
    """Find a file's MD5 in what a store says of it: S3's ETag; GCS and Azure give base64."""
    for key in ("md5Hash", "content_md5"):
        if given := entry.get(key):
            return (base64.b64decode(given) if isinstance(given, str) else bytes(given)).hex()
    tag = entry.get("ETag")
    return str(tag).strip('"') if tag else None


def _write(path: str, data: bytes, mode: Literal["wb", "xb"] = "wb") -> None:
    try:
        out = open(path, mode, buffering=0)  # noqa: PTH123, SIM115
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        out = open(path, mode, buffering=0)  # noqa: PTH123, SIM115
    with out:
        out.write(data)
