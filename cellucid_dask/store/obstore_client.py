"""A bucket or container asked through obstore, whose client is compiled."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import obstore
from fsspec.asyn import get_loop
from obstore.store import AzureStore, GCSStore, S3Store

from cellucid_dask.store.blocks import BlockReader
from cellucid_dask.store.client import Client, Entry
from cellucid_dask.store.credentials import Provider
from cellucid_dask.store.failures import is_beyond_the_end
from cellucid_dask.store.obstore_errors import OddAnswerError, StoreError, plain_errors
from cellucid_dask.store.obstore_options import PROTOCOLS, Place
from cellucid_dask.store.retry import PATIENCE

_PATIENCE = timedelta(seconds=PATIENCE)
_LONG = "1h"  # `transfer` ends calls long before
_PART_BYTES, _PARTS = 8 * 2**20, 4
_AT_ONCE = 64  # objects that are removed side by side, where one request removes one


@atexit.register
def _settle(seconds: float = 0.2) -> None:
    """End what is under way, and let obstore's threads hand over what they have.

    One of them that asks for Python when the interpreter ends takes the process down with it:
    https://github.com/PyO3/pyo3-async-runtimes/issues/40
    """
    loop = get_loop()

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    loop.call_soon_threadsafe(cancel)
    time.sleep(seconds)


class ObstoreClient:
    """Asks one bucket or container.

    Parameters
    ----------
    place
        The bucket, and how it is reached.
    credentials
        Gives credentials when they are needed, if `place` does not.
    lists
        Lists folders instead, where obstore would leave out the MD5 of objects.
    other
        Makes the client that reads where obstore does not understand the store's answers.
    """

    def __init__(
        self,
        place: Place,
        credentials: Provider | None,
        lists: Client | None = None,
        other: Callable[[], Client] | None = None,
    ) -> None:
        self.protocols, self.loop = PROTOCOLS[place.kind], get_loop()
        self.gave_up = False
        self._bucket, self._lists, self._other = place.bucket, lists, other
        self._deletes_many = place.kind != "gcs"
        make = {"s3": S3Store, "gcs": GCSStore, "azure": AzureStore}[place.kind]

        def opened(max_retries: int = 0, **http: str) -> Any:
            return make(
                place.bucket,
                config=place.config,
                client_options={"connect_timeout": "10s", "timeout": _LONG, **http, **place.http},
                retry_config={"max_retries": max_retries, "retry_timeout": _PATIENCE},
                credential_provider=credentials,
            )

        self._reads = opened(read_timeout=f"{PATIENCE:.0f}s")  # without a byte
        self._writes = opened()
        self._streams = opened(6, timeout=f"{PATIENCE:.0f}s")  # for a part; nobody else repeats it

    def _key(self, path: str) -> str:
        return path.partition("/")[2]

    async def get(self, path: str, start: int = 0, stop: int | None = None) -> Any:
        """Read an object, or the bytes ``start ... stop - 1`` of it; its last ones if negative."""
        key = self._key(path)
        try:
            with plain_errors():
                if start < 0:
                    return await self._last(key, -start)
                wanted: Any = {"offset": start} if stop is None else (start, stop)
                options: Any = {"range": wanted} if wanted != {"offset": 0} else None
                found = await obstore.get_async(self._reads, key, options=options)
                return await found.bytes_async()
        except OddAnswerError:
            if self._other is None:
                raise
            return await self._other().get(path, start, stop)
        except StoreError as error:
            if stop is None or not is_beyond_the_end(error):
                raise
            return b""

    async def _last(self, key: str, count: int) -> Any:
        try:
            found = await obstore.get_async(self._reads, key, options={"range": {"suffix": count}})
            return await found.bytes_async()
        except obstore.exceptions.NotSupportedError:  # on Azure
            size = (await obstore.head_async(self._reads, key))["size"]
            return await obstore.get_range_async(
                self._reads, key, start=max(size - count, 0), end=size
            )

    async def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object whole. It gets no content encoding."""
        await self._put(path, data, content_type, "overwrite")

    async def create(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object as `put` does, or raise `FileExistsError` where there is one."""
        await self._put(path, data, content_type, "create")

    async def version(self, path: str) -> Mapping[str, str]:
        """Return what `replace` knows an object by."""
        with plain_errors():
            found: Mapping[str, Any] = await obstore.head_async(self._reads, self._key(path))
        return {key: str(found[key]) for key in ("e_tag", "version") if found[key]}

    async def replace(
        self, path: str, data: bytes, content_type: str, version: Mapping[str, str]
    ) -> None:
        """Write an object as `put` does, if it is of a version.

        Raises
        ------
        FileExistsError, FileNotFoundError
            It is not.
        """
        await self._put(path, data, content_type, version or "overwrite")

    async def _put(self, path: str, data: bytes, content_type: str, mode: Any) -> None:
        with plain_errors():
            await obstore.put_async(
                self._writes, self._key(path), data, use_multipart=False, mode=mode,
                attributes={"Content-Type": content_type},
            )  # fmt: skip

    async def info(self, path: str) -> Entry:
        """Ask for one object."""
        try:
            with plain_errors():
                return self._entry(await obstore.head_async(self._reads, self._key(path)))
        except OddAnswerError:
            if self._other is None:
                raise
            return await self._other().info(path)

    async def entries(self, path: str, *, below: bool = False) -> list[Entry]:
        """List a folder; with `below` all objects in it and in its folders."""
        if self._lists and not below:
            return await self._lists.entries(path)
        key = self._key(path) or None
        with plain_errors():
            if below:
                found = await obstore.list(self._reads, key).collect_async()
                return [self._entry(each) for each in found]
            listed = await obstore.list_with_delimiter_async(self._reads, key)
        folders = [
            Entry(f"{self._bucket}/{each}", is_folder=True) for each in listed["common_prefixes"]
        ]
        return [*folders, *(self._entry(each) for each in listed["objects"])]

    def _entry(self, meta: Mapping[str, Any]) -> Entry:
        tag = meta["e_tag"]
        return Entry(
            f"{self._bucket}/{meta['path']}",
            int(meta["size"]),
            md5=str(tag).strip('"') if tag else None,
            state=(str(meta["last_modified"]), str(tag), str(meta["version"])),
        )

    async def delete(self, paths: Sequence[str]) -> None:
        """Remove objects, as far as they exist."""
        keys = [self._key(path) for path in paths]
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(key: str) -> None:
            async with slots:
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._writes, key)

        with plain_errors():
            if self._deletes_many:
                with suppress(FileNotFoundError):  # Azure stops at what is not there
                    await obstore.delete_async(self._writes, keys)
                    return
            await asyncio.gather(*(one(key) for key in keys))

    async def delete_folder(self, path: str) -> None:
        """Do nothing: there are no folders."""

    async def make_folder(self, path: str) -> None:
        """Do nothing: there are no folders."""

    def open_reader(self, path: str, block_bytes: int = 2**20) -> Any:
        """Open an object for reads of any order, close together: blocks are read, and some kept."""
        return BlockReader(self, path, block_bytes)

    @contextmanager
    def open_writer(self, path: str, content_type: str) -> Iterator[Any]:
        """Open an object to be written piece by piece."""
        with (
            plain_errors(),
            obstore.open_writer(
                self._streams, self._key(path), attributes={"Content-Type": content_type},
                buffer_size=_PART_BYTES, max_concurrency=_PARTS,
            ) as out,
        ):  # fmt: skip
            yield out
