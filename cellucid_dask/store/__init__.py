"""Any fsspec store: opening it, reading and writing many objects at once, and its failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import fsspec

from cellucid_dask.errors import RequestError
from cellucid_dask.store.failures import reason

_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure",
    "az": "azure", "http": "http", "https": "http",
}  # fmt: skip
# botocore keeps 10 connections, fewer than there are objects in flight
_CONNECTIONS = {"max_pool_connections": 64}


def open_store(url: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it.

    Parameters
    ----------
    url
        A local path or a URL.
    storage_options
        fsspec options of its store.

    Raises
    ------
    RequestError
        There is no such kind of store, its package is missing, or it refuses the options.
    """
    protocol = url.partition("://")[0] if "://" in url else ""
    if protocol and urlsplit(url).password:
        raise RequestError(
            "The URL holds a password, and URLs are shown: pass it as a storage option instead."
        )
    options = dict(storage_options)
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = _CONNECTIONS | dict(options.get("config_kwargs") or {})
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise RequestError(
            f"{protocol}:// needs a package that is not installed: "
            f'pip install "cellucid-dask[{_EXTRAS.get(protocol, protocol)}]".'
        ) from error
    except Exception as error:  # stores raise errors of their own
        raise RequestError(
            f"{url} cannot be opened ({reason(error, storage_options)}): check the address and "
            "its storage options."
        ) from error
    return fs, str(path).rstrip("/")
