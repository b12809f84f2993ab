"""A file or folder by its path or URL: on a local disk, or in any fsspec store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, Self

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.secrets import shown
from cellucid_dask.store.address import parse_address
from cellucid_dask.store.client import Client, Entry
from cellucid_dask.store.failures import explain, reason
from cellucid_dask.store.local import (
    info_of,
    list_below,
    list_folder,
    open_below,
    read_below,
    within,
)
from cellucid_dask.store.retry import limit_of, with_retries
from cellucid_dask.store.transfer import Range, call, fetch_ranges

_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure",
    "az": "azure", "http": "http", "https": "http",
}  # fmt: skip
MAX_BYTES = 2**26  # of a file that is read whole, unless more is asked for
_PLACE = ("endpoint_url", "account_name", "connection_string", "host", "port")


@dataclass(frozen=True, repr=False)
class Location:
    """A file, folder or prefix; names below it are relative, with ``/``. Cheap to pickle.

    Attributes
    ----------
    url
        An absolute local path, or a URL such as ``s3://bucket/atlas``.
    storage_options
        fsspec options of its store; never logged or stored.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, path: Any, storage_options: Mapping[str, Any] | None = None) -> Self:
        """Return the location of a path or URL, the same in whichever folder a worker runs.

        Raises
        ------
        RequestError
            It is empty, a URL that lost something, or of no known store.
        """
        url, options = parse_address(path)
        return cls(url, {**options, **(storage_options or {})})

    def __str__(self) -> str:
        """Return the path, or the URL without what may be secret."""
        return shown(self.url)

    def __repr__(self) -> str:
        """Return what names of tasks and logs of workers may show."""
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def is_local(self) -> bool:
        """Whether it is a local path."""
        return "://" not in self.url

    @property
    def name(self) -> str:
        """Last part of the path, without the query of a URL; of a chain, in its first store."""
        if self.is_local:
            return self.url.rpartition("/")[2]
        places = (each.partition("://")[2] for each in self.url.partition("?")[0].split("::"))
        return next(filter(None, places), "").rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> str | None:
        """The local folder that it lies in; ``None`` in a store."""
        return os.path.dirname(self.url) if self.is_local else None  # noqa: PTH120

    @cached_property
    def _store(self) -> tuple[Client, str]:
        from cellucid_dask.store.opening import open_client  # noqa: PLC0415  slow to import

        try:
            return open_client(self.url, self.storage_options)
        except ImportError as error:
            scheme = self.url.partition(":")[0]
            raise RequestError(
                f"{scheme}:// needs a package that is not installed: "
                f'pip install "cellucid-dask[{_EXTRAS.get(scheme, scheme)}]".'
            ) from error
        except Exception as error:  # stores raise errors of their own
            why = reason(error, self.storage_options, self.url)
            raise RequestError(
                f"{self} cannot be opened ({why}): check the address and its storage options."
            ) from error

    @property
    def client(self) -> Client:
        """What asks its store.

        Raises
        ------
        RequestError
            There is no such kind of store, its package is missing, or it refuses the options.
        """
        return self._store[0]

    @property
    def is_web(self) -> bool:
        """Whether it is on a web server: it has no listings to rely on, nor always byte ranges."""
        return not self.is_local and bool({"http", "https"} & self.client.protocols)

    def holds(self, other: Location) -> bool:
        """Whether another location is this one or lies in it, as far as paths tell."""
        if self.is_local or other.is_local:
            mine, theirs = self.url, other.url
            if self.is_local != other.is_local:
                return False
        else:
            if not self.client.protocols & other.client.protocols or self._place != other._place:
                return False
            mine, theirs = (each.path().partition("?")[0] for each in (self, other))
        return f"{theirs}/".startswith(f"{mine.rstrip('/')}/")

    @property
    def _place(self) -> list[Any]:
        """Options that tell stores of one kind apart."""
        options = {**dict(self.storage_options.get("client_kwargs") or {}), **self.storage_options}
        return [options.get(key) for key in _PLACE]

    def path(self, name: str = "") -> str:
        """Return the path of a file below in the file system, or of the location itself."""
        root = self.url if self.is_local else self._store[1]
        return f"{root}/{name}" if root and name else root or name

    def _shown(self, name: str) -> str:
        return f"{self}/{name}" if name else str(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file system behind: each process opens its own."""
        return {"url": self.url, "storage_options": self.storage_options}

    def explain(self, error: BaseException, done: str, name: str = "") -> str:
        """Say in a sentence why this, or a file below, could not be `done` ("read")."""
        return explain(error, self._shown(name), done, self.storage_options, self.url)

    @contextmanager
    def explaining(self, done: str, advice: str = "") -> Iterator[None]:
        """Turn what a store raises inside the block into an `ExportError` in plain words.

        Parameters
        ----------
        done
            What the block does, as a participle: ``"written to"``.
        advice
            A sentence to add.
        """
        try:
            yield
        except (ExportError, RequestError, MemoryError):
            raise
        except Exception as error:  # stores raise errors of their own
            raise ExportError(f"{self.explain(error, done)} {advice}".rstrip()) from error

    def read(self, name: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Read a file; ``None`` when there is none.

        Raises
        ------
        ExportError
            It cannot be read, or has more than `max_bytes`.
        """
        data = self.fetch({name: max_bytes})[name]
        if isinstance(data, FileNotFoundError | NotADirectoryError):
            return None
        if isinstance(data, Exception):
            raise ExportError(self.explain(data, "read", name)) from data
        return data

    def beginning(self, max_bytes: int) -> bytes:
        """Read the first bytes of the file; errors are raised as they are."""
        if self.is_local:
            with open_below(self.url, "") as file:
                return file.read(max_bytes)
        client, path = self.client, self.path()
        if not self.is_web:
            return bytes(call(client, lambda: client.get(path, 0, max_bytes)))

        def read() -> bytes:  # of a server that may only know to send the whole
            with client.open_reader(path, max_bytes) as file:
                return bytes(file.read(max_bytes))

        return with_retries(read)

    def info(self, name: str = "") -> Entry:
        """Ask what there is of a file, or of the location itself; errors are raised as they are."""
        path = self.path(name)
        if self.is_local:
            return info_of(path)
        client = self.client
        return call(client, lambda: client.info(path))

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Read byte ranges ``(name, start, stop)``, many at once where the store can.

        Errors of a local disk are raised as they are: on a cluster the task may succeed on
        another worker.

        Raises
        ------
        ExportError
            A store fails, or a file ends before the range does.
        """
        found: list[bytes | Exception]
        if self.is_local:
            found = list(self._read_local(ranges))
        else:
            wanted = [(self.path(name), start, stop) for name, start, stop in ranges]
            found = fetch_ranges(self.client, wanted)
        results = []
        for data, (name, start, stop) in zip(found, ranges, strict=True):
            if isinstance(data, Exception):
                raise ExportError(self.explain(data, "read", name)) from data
            if len(data) != stop - start:
                raise ExportError(
                    f"{self._shown(name)} is truncated: it ends before byte {stop:,}."
                )
            results.append(data)
        return results

    def _read_local(self, ranges: Sequence[Range]) -> Iterator[bytes]:
        for name, group in groupby(ranges, key=lambda each: each[0]):
            with open_below(self.url, name) as file:
                size = os.fstat(file.fileno()).st_size  # no more is read, whatever is asked for
                for _, start, stop in group:
                    first = min(start, size)
                    yield os.pread(file.fileno(), min(stop, size) - first, first)

    def fetch(self, max_bytes: Mapping[str, int]) -> dict[str, bytes | Exception]:
        """Read files, many at once where the store can.

        Parameters
        ----------
        max_bytes
            By name, how many bytes a file may have; a larger one takes no memory on a local disk,
            and no more than this in a store.

        Returns
        -------
        dict
            By name the contents, or the error that reading met.
        """
        if self.is_local:
            return {name: read_below(self.url, name, limit) for name, limit in max_bytes.items()}
        ranges = [(self.path(name), 0, limit + 1) for name, limit in max_bytes.items()]
        found = fetch_ranges(self.client, ranges)
        return {
            name: data if isinstance(data, Exception) else within(bytes(data), limit)
            for (name, limit), data in zip(max_bytes.items(), found, strict=True)
        }

    def tree(self) -> dict[str, int] | None:
        """Return the sizes of all files below, by name; ``None`` where a store has no lists."""
        if self.is_web:
            return None
        with self.explaining("listed"):
            return {entry.path: entry.size for entry in self.entries(below=True)}

    def entries(self, folder: str = "", *, below: bool = False) -> list[Entry]:
        """List a folder, or all files below; of each entry the path is relative to it."""
        path = self.path(folder)
        try:
            if self.is_local:
                return list_below(path) if below else list_folder(path)
            client = self.client
            found = call(client, lambda: client.entries(path, below=below), limit_of(MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return []
        prefix = f"{path.rstrip('/')}/" if path else ""
        return [
            replace(entry, path=entry.path.removeprefix(prefix))
            for entry in found
            if entry.path.startswith(prefix)
        ]
