"""The client of a store, by its URL: the one place that knows which there are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import fsspec
from fsspec.utils import tokenize

from cellucid_dask.errors import ExportWarning
from cellucid_dask.store.client import Client
from cellucid_dask.store.fsspec_client import FsspecClient, for_botocore
from cellucid_dask.store.obstore_options import KINDS, Place, Untranslatable, translate

_OBSTORE: dict[str, Client] = {}  # of this process, by bucket and options: each has connections
_PACKAGES = {"s3": "s3fs", "gcs": "gcsfs", "azure": "adlfs"}
_forked_after_use = False  # what obstore does in threads does not live on in a forked process


def _note_fork() -> None:
    global _forked_after_use  # noqa: PLW0603  of the process
    _forked_after_use = _forked_after_use or bool(_OBSTORE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def open_client(url: str, storage_options: Mapping[str, Any]) -> tuple[Client, str]:
    """Return the client of the store that a path or URL is in, and the path in it.

    Raises
    ------
    Exception
        There is no such kind of store, its package is missing, or it refuses the options.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme in KINDS and (found := _by_obstore(scheme, url, storage_options)):
        return found
    fs, path = _file_system(url, storage_options)
    return FsspecClient(fs), str(path).rstrip("/")


def _file_system(url: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    is_s3 = url.startswith(("s3://", "s3a://"))
    options = for_botocore(storage_options) if is_s3 else storage_options
    found: tuple[Any, str] = fsspec.core.url_to_fs(url, **options)
    return found


def _by_obstore(
    scheme: str, url: str, storage_options: Mapping[str, Any]
) -> tuple[Client, str] | None:
    """Return the compiled client of a bucket, unless it cannot do what is asked for."""
    if _forked_after_use or not _installed():
        return None
    defaults = {
        key: value for each in KINDS if KINDS[each] == KINDS[scheme]
        for key, value in fsspec.config.conf.get(each, {}).items()
    }  # fmt: skip
    options = {**defaults, **storage_options}
    try:
        place = translate(url, options, os.environ)
    except Untranslatable as reason:
        if str(reason):
            _say_once(str(reason), _PACKAGES[KINDS[scheme]])
        return None
    client = _client(url, place, storage_options)
    return client, f"{place.bucket}/{place.path}".rstrip("/")


def _client(url: str, place: Place, options: Mapping[str, Any]) -> Client:
    from cellucid_dask.store.credentials import completed  # noqa: PLC0415
    from cellucid_dask.store.obstore_client import ObstoreClient  # noqa: PLC0415

    environ = {key: os.environ[key] for key in sorted(os.environ) if key.startswith("AWS_")}
    key = tokenize(place.kind, place.bucket, place.config, place.http, options, environ)
    if key not in _OBSTORE:
        other = cache(lambda: FsspecClient(_file_system(url, options)[0]))
        lists = other() if place.kind == "azure" else None
        _OBSTORE[key] = ObstoreClient(*completed(place), lists, other)
    return _OBSTORE[key]


@cache
def _installed() -> bool:
    try:
        import obstore  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


@cache
def _say_once(reason: str, package: str) -> None:
    warnings.warn(
        f"{reason} is only known to {package}, which is used and is slower: leave it out if it "
        "is not needed.",
        ExportWarning,
        stacklevel=2,
    )
