"""A store asked through fsspec: any that it knows."""

from __future__ import annotations

import asyncio
import base64
import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from fsspec.core import has_magic

from cellucid_dask.store.blocks import BlockReader
from cellucid_dask.store.client import Entry
from cellucid_dask.store.failures import is_beyond_the_end

# botocore keeps 10 connections, fewer than there are objects in flight; and its repeating what
# s3fs and `transfer` repeat would take minutes
_BOTOCORE = {"max_pool_connections": 64, "retries": {"max_attempts": 2}}
# what stores report of a file that changes with its content
_STATE = ("mtime", "ETag", "LastModified", "md5Hash", "updated", "etag", "last_modified",
          "Last-Modified")  # fmt: skip


def for_botocore(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of s3fs that say how much its library may do at once, and repeat."""
    return {**options, "config_kwargs": _BOTOCORE | dict(options.get("config_kwargs") or {})}


class FsspecClient:
    """Asks a file system of fsspec.

    Parameters
    ----------
    fs
        The file system. The methods of an asynchronous one are awaited in its own loop; those of
        any other block.
    """

    def __init__(self, fs: Any) -> None:
        self.fs, self.gave_up = fs, False
        self.protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._is_async = bool(getattr(fs, "async_impl", False)) and hasattr(fs, "_pipe_file")
        self.loop: asyncio.AbstractEventLoop | None = fs.loop if self._is_async else None

    async def _do(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._is_async:
            return await getattr(self.fs, f"_{method}")(*arguments, **options)
        return getattr(self.fs, method)(*arguments, **options)

    async def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read an object, or the bytes ``start ... stop - 1`` of it; its last ones if negative."""
        bounds: dict[str, Any] = {"start": start or None, "end": stop}
        if "s3" in self.protocols and bounds == {"start": None, "end": None}:
            bounds["max_concurrency"] = 1  # s3fs asks for the size first, to read large ones apart
        try:
            return bytes(await self._do("cat_file", path, **bounds))
        except Exception as error:
            if stop is None or not is_beyond_the_end(error):
                raise
            return b""

    async def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object whole. It gets no content encoding."""
        await self._do("pipe_file", path, data, **self._headers(content_type))

    async def create(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object as `put` does, or raise `FileExistsError` where there is one."""
        await self._put_if(path, data, content_type, mode="create")

    async def version(self, path: str) -> Mapping[str, str]:
        """Return what `replace` knows an object by; nothing but on S3."""
        if "s3" not in self.protocols:
            return {}
        return {"e_tag": str((await self._do("info", path, refresh=True))["ETag"])}

    async def replace(
        self, path: str, data: bytes, content_type: str, version: Mapping[str, str]
    ) -> None:
        """Write an object as `put` does, if it is of a version.

        Raises
        ------
        FileExistsError, FileNotFoundError
            It is not.
        """
        condition: dict[str, Any] = {}
        if version:  # in one request, however large: only that takes the condition
            condition = {"IfMatch": version["e_tag"], "chunksize": 5 * 2**30}
        await self._put_if(path, data, content_type, **condition)

    async def _put_if(self, path: str, data: bytes, content_type: str, **condition: Any) -> None:
        try:
            await self._do("pipe_file", path, data, **condition, **self._headers(content_type))
        except OSError as error:
            if error.errno != errno.EINVAL:  # how S3 says that its condition does not hold
                raise
            await self.info(path)
            raise FileExistsError(errno.EEXIST, "it exists", path) from error

    async def info(self, path: str) -> Entry:
        """Ask for one object."""
        return _entry(await self._do("info", path))

    async def entries(self, path: str, *, below: bool = False) -> list[Entry]:
        """List a folder; with `below` all objects in it and in its folders. Never a cached list."""
        self.fs.invalidate_cache()  # adlfs knows no other way
        if not below:
            return [_entry(each) for each in await self._do("ls", path, detail=True, refresh=True)]
        found = await self._do("find", path, detail=True)
        if not isinstance(found, Mapping):  # adlfs lists a single file
            return []
        return [_entry({**each, "name": name}) for name, each in found.items()]

    async def delete(self, paths: Sequence[str]) -> None:
        """Remove objects, as far as they exist."""
        many, single = [path for path in paths if not has_magic(path)], []
        if len(many) > 1:
            try:
                await self._do("rm", many)
            except FileNotFoundError:  # an earlier try removed some of them
                single = many
        else:  # s3fs would not say that it is denied
            single = many
        for path in [*single, *filter(has_magic, paths)]:  # which `rm` takes for patterns
            with suppress(FileNotFoundError):
                await self._do("rm_file", path)

    async def delete_folder(self, path: str) -> None:
        """Remove a folder that has no more objects, where there are folders."""
        if not self._is_async:
            self.fs.invalidate_cache()  # others wrote there
            with suppress(FileNotFoundError):
                self.fs.rm(path, recursive=True)

    async def make_folder(self, path: str) -> None:
        """Make a folder, where files need one: object stores have none."""
        if not self._is_async:
            self.fs.makedirs(path, exist_ok=True)

    def open_reader(self, path: str, block_bytes: int = 2**20) -> Any:
        """Open an object for reads of any order, close together: blocks are read, and some kept."""
        if self._is_async and not self.protocols & {"http", "https"}:  # which may tell no size
            return BlockReader(self, path, block_bytes)
        return self.fs.open(path, "rb", block_size=block_bytes, cache_type="blockcache")

    @contextmanager
    def open_writer(self, path: str, content_type: str) -> Iterator[Any]:
        """Open an object to be written piece by piece; on S3 it appears if the block ends well."""
        is_staged, is_whole = "s3" in self.protocols, False
        out = self.fs.open(path, "wb", autocommit=not is_staged, **self._headers(content_type))
        try:
            with out:
                yield out
            is_whole = True
        finally:
            if is_staged:
                (out.commit if is_whole else out.discard)()

    def _headers(self, content_type: str) -> dict[str, Any]:
        """Return the keywords that set an object's content type; fsspec's stores guess none."""
        if "s3" in self.protocols:
            return {"ContentType": content_type}
        if "gs" in self.protocols:
            return {"content_type": content_type}
        if "abfs" in self.protocols:
            from azure.storage.blob import ContentSettings  # noqa: PLC0415  there with adlfs

            return {"content_settings": ContentSettings(content_type=content_type)}
        return {}


def _entry(info: Mapping[str, Any]) -> Entry:
    return Entry(
        str(info["name"]).rstrip("/"),
        int(info.get("size") or 0),
        info.get("type") == "directory",
        _md5(info),
        tuple(str(info.get(key)) for key in _STATE),
    )


def _md5(entry: Mapping[str, Any]) -> str | None:
    """Find a file's MD5 in its entry of a listing: S3's ETag; GCS and Azure give base64."""
    of_azure = entry.get("content_settings") or {}
    for given in (entry.get("md5Hash"), of_azure.get("content_md5")):
        if given:
            return (base64.b64decode(given) if isinstance(given, str) else bytes(given)).hex()
    tag = entry.get("ETag")
    return str(tag).strip('"') if tag else None
