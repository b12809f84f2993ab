"""Zarr stores by path or URL: reads are retried, and what cannot be listed is not called empty."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, ExitStack
from zipfile import ZipFile

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from cellucid_dask.errors import ExportWarning, RequestError
from cellucid_dask.source.links import Reach
from cellucid_dask.source.zarr_codecs import PIPELINE
from cellucid_dask.store.coroutines import ask_from_anywhere
from cellucid_dask.store.document import MAX_MEMORY, DocumentError, parse_json
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import MAX_BYTES, Location
from cellucid_dask.store.preflight import check_answers

_GROUP = ("zarr.json", ".zgroup")
_METADATA = (*_GROUP, ".zmetadata", ".zarray", ".zattrs")
_MAX_MEMORY = MAX_MEMORY // 3  # of metadata: Zarr makes objects of them again, and copies


def bounded() -> AbstractContextManager[object]:
    """Return a context in which chunks of arrays that are opened inflate to their shape only.

    A pipeline other than Zarr's own, if the user chose one, is kept.
    """
    default = zarr.config.get("codec_pipeline.path").startswith("zarr.")
    pipeline = {"codec_pipeline.path": PIPELINE} if default else {}
    context: AbstractContextManager[object] = zarr.config.set(pipeline)
    return context


def open_group(location: Location, reach: Reach) -> zarr.Group:
    """Open the group that a location is, of which the links may lead as far as `reach` says."""
    if location.is_local:
        # what lies there counts; Zarr misreads consolidated names that differ by case
        store = _LocalStore(location.url, reach)
        return zarr.open_group(store, mode="r", use_consolidated=False)
    check_answers(location, "zarr.json")
    remote = _RemoteStore(location)
    try:
        return zarr.open_group(remote, mode="r")
    except FileNotFoundError as error:
        raise remote.denied or error from error


def open_zip_group(location: Location, opened: ExitStack) -> zarr.Group:
    """Open the group that lies in a zip archive on a local disk."""
    if not location.is_local:
        raise RequestError(f"{location} is a zip archive: copy it to a local disk.")
    store = zarr.storage.ZipStore(location.url, mode="r")
    opened.callback(store.close)
    group = zarr.open_group(store, path=_top_folder(location.url), mode="r", use_consolidated=False)
    warnings.warn(
        f"{location.name} is a zip archive, of which one task at a time can read: unpack it if "
        "the export takes long.",
        ExportWarning,
        stacklevel=2,
    )
    return group


def _top_folder(archive: str) -> str:
    """Return the folder that all files of an archive lie in; empty if there is none."""
    with ZipFile(archive) as opened:
        tops = {tuple(name.partition("/")[:2]) for name in opened.namelist()}
    (top, slash), *others = tops or {("", "")}
    return top if slash and not others else ""


def _is_metadata(key: str) -> bool:
    return key.rpartition("/")[2] in _METADATA


class _LocalStore(zarr.storage.LocalStore):
    """A folder of which only regular files are read, and no metadata that are too large.

    Nor are metadata read by a link that leads out of it, unless that is allowed.
    """

    def __init__(self, folder: str, reach: Reach) -> None:
        super().__init__(folder, read_only=True)
        self._reach = reach

    def with_read_only(self, read_only: bool = True) -> _LocalStore:
        """Return itself; it is always read only."""
        if not read_only:
            raise NotImplementedError
        return self

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file or a part of it; ``None`` if there is none.

        Raises
        ------
        ValueError
            It is not a file, or its metadata cannot be used.
        RequestError
            It is a link that may not be followed.
        """
        path = self.root / key
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError(f"{key} is no file")
        is_document = _is_metadata(key) and path.is_file()
        if is_document and self._reach.check(key, path).stat().st_size > MAX_BYTES:
            raise DocumentError(f"{key} is too large")
        data = await super().get(key, prototype, byte_range)
        if data is not None and _is_metadata(key):
            parse_json(data.to_bytes(), _MAX_MEMORY, allow_nan=True)
        return data


class _RemoteStore(Store):
    """A Zarr store of a location that is read: what fails is repeated, and explained in the end."""

    supports_writes = supports_deletes = supports_partial_writes = False
    supports_listing = True

    def __init__(self, location: Location) -> None:
        super().__init__(read_only=True)
        self._location = location
        self.denied: Exception | None = None  # why metadata may not be read, if they may not

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _RemoteStore) and self._location == other._location

    def __hash__(self) -> int:
        return hash(self._location.url)

    def with_read_only(self, read_only: bool = True) -> _RemoteStore:
        """Return itself; it is always read only."""
        if not read_only:
            raise NotImplementedError
        return self

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; ``None`` if there is none."""
        client, path = self._location.client, self._location.path(key)
        start, stop = _bounds(byte_range)
        with self._location.explaining("read"):
            try:
                data = await ask_from_anywhere(client, lambda: client.get(path, start, stop))
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
            except Exception as error:
                # a bucket that may not be listed does not say that an object is missing, and
                # Zarr looks for metadata of several versions
                if failure_of(error) is Failure.DENIED and _is_metadata(key):
                    self.denied = error
                    return None
                raise
        if _is_metadata(key):
            parse_json(bytes(data), _MAX_MEMORY, allow_nan=True)
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects, many at once."""
        return list(
            await asyncio.gather(*(self.get(key, prototype, each) for key, each in key_ranges))
        )

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await self.get(key, default_buffer_prototype()) is not None

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in the folder of a group.

        Raises
        ------
        RequestError
            The group's own metadata are not among them: the store does not list what it holds.
        """
        folder = prefix.rstrip("/")
        client, path = self._location.client, self._location.path(folder)
        try:
            found = await ask_from_anywhere(client, lambda: client.entries(path))
        except Exception as error:
            if failure_of(error) not in (Failure.DENIED, Failure.MISSING):
                raise
            found = []
        names = {entry.path.rpartition("/")[2] for entry in found}
        if not names.intersection(_GROUP):
            raise RequestError(
                f"{folder or 'The group'} in {self._location} cannot be listed, so its names are "
                "not known: have zarr.consolidate_metadata write them into the store, or name what "
                "you want (--layer, --embedding, --latent)."
            )
        for name in sorted(names):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the paths of all objects whose paths begin so."""
        client, path = self._location.client, self._location.path()
        for entry in await ask_from_anywhere(client, lambda: client.entries(path, below=True)):
            key = entry.path.removeprefix(f"{path}/")
            if key.startswith(prefix):
                yield key

    def list(self) -> AsyncIterator[str]:
        """Yield the paths of all objects."""
        return self.list_prefix("")

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: nothing is written."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Refuse: nothing is removed."""
        raise NotImplementedError


def _bounds(wanted: ByteRequest | None) -> tuple[int, int | None]:
    """Return the first byte and the one after the last; from the end, it is negative."""
    if isinstance(wanted, RangeByteRequest):
        return wanted.start, wanted.end
    if isinstance(wanted, SuffixByteRequest):
        return -wanted.suffix, None
    return (wanted.offset if wanted else 0), None
