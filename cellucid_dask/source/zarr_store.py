"""Zarr stores by path or URL: reads are retried, and what cannot be listed is not called empty."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from zipfile import ZipFile

import zarr

from cellucid_dask.errors import ExportWarning, RequestError
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import Location
from cellucid_dask.store.preflight import check_answers
from cellucid_dask.store.retry import with_retries_async

_GROUP = ("zarr.json", ".zgroup")
_METADATA = (*_GROUP, ".zmetadata", ".zarray", ".zattrs")


def open_group(location: Location) -> zarr.Group:
    """Open the group that a location is."""
    if location.is_local:
        # what lies there counts; Zarr misreads consolidated names that differ by case
        return zarr.open_group(location.url, mode="r", use_consolidated=False)
    check_answers(location, "zarr.json")
    # Zarr by itself would take memory:// for a store of its own
    inner = zarr.storage.FsspecStore.from_url(
        location.url, dict(location.storage_options), read_only=True
    )
    store = _RemoteStore(inner, location)
    try:
        return zarr.open_group(store, mode="r")
    except FileNotFoundError as error:
        raise store.denied or error from error


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


class _RemoteStore(zarr.storage.WrapperStore[Any]):
    """A Zarr store that retries reads, and explains those that fail for good."""

    def __init__(self, store: Any, location: Location) -> None:
        super().__init__(store)
        self._location = location
        self.denied: Exception | None = None  # why metadata may not be read, if they may not

    def _with_store(self, store: Any) -> _RemoteStore:
        return type(self)(store, self._location)

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        with self._location.explaining("read"):
            try:
                return await with_retries_async(
                    partial(self._store.get, key, *arguments, **options)
                )
            except Exception as error:
                # a bucket that may not be listed does not say that an object is missing, and
                # Zarr looks for metadata of several versions
                if failure_of(error) is Failure.DENIED and key.rpartition("/")[2] in _METADATA:
                    self.denied = error
                    return None
                raise

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in the folder of a group.

        Raises
        ------
        RequestError
            The group's own metadata are not among them: the store does not list what it holds.
        """
        folder = prefix.rstrip("/")
        path = "/".join(part for part in (self._store.path, folder) if part)
        try:
            found = await with_retries_async(partial(self._store.fs._ls, path, detail=False))  # noqa: SLF001
        except Exception as error:
            if failure_of(error) not in (Failure.DENIED, Failure.MISSING):
                raise
            found = []
        names = {str(each).rstrip("/").rpartition("/")[2] for each in found}
        if not names.intersection(_GROUP):
            raise RequestError(
                f"{folder or 'The group'} in {self._location} cannot be listed, so its names are "
                "not known: have zarr.consolidate_metadata write them into the store, or name what "
                "you want (--layer, --embedding, --latent)."
            )
        for name in sorted(names):
            yield name
