"""What a path or URL given by a caller means; what may be meant otherwise is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellucid_dask.errors import RequestError
from cellucid_dask.secrets import shown

# schemes, which fsspec chains with "::"
_URL = re.compile(r"(?:[A-Za-z][\w+.-]*::)*[A-Za-z][\w+.-]*://")
_LOST = re.compile(r"([A-Za-z][\w+.-]*):(?!:)/*([^?]*)", re.DOTALL)
_LOCAL = ("file", "local")
# whose first part is a bucket, container or host
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"}


def is_address(value: Any) -> bool:
    """Whether a value is a path or URL: text, a path, or a `UPath` of universal_pathlib."""
    return isinstance(value, str | bytes | os.PathLike) or _is_upath(value)


def _is_upath(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("protocol", "path", "storage_options"))


def _parts_of(upath: Any) -> tuple[str, dict[str, Any]]:
    """Return its URL, and its options as fsspec takes them with it.

    The options of the store in which an archive lies go by its scheme. The archive itself is in the
    URL too, unless it is local or was given as an option.
    """
    text, options = str(upath), dict(upath.storage_options)
    archive = options.pop("fo", None)
    inner, scheme = options.pop("target_options", {}), options.pop("target_protocol", None)
    if scheme:
        return text, {**options, scheme: inner}
    if archive is None:
        return text, options
    where = str(archive) if "://" in str(archive) else f"file://{Path(archive).absolute()}"
    return f"{text.partition('::')[0]}::{where}", options


def parse_address(address: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the absolute local path, links resolved, or the URL; and options that came with it.

    Only what begins with the ``scheme://`` of a store is a URL: any other text is a local path,
    to the letter.

    Raises
    ------
    RequestError
        It is empty, a URL that lost something, or of no known store.
    """
    if not is_address(address):
        raise RequestError(f"A {type(address).__name__} is not a location: pass a path or URL.")
    text, options = _parts_of(address) if _is_upath(address) else (os.fsdecode(address), {})
    if not text.strip() or "\0" in text:
        raise RequestError(
            "A path or URL is empty: name a file or folder, and check that its variables are set."
        )
    if _URL.match(text):
        scheme, _, rest = text.partition("://")
        if scheme in _LOCAL:
            return _path_of(rest.removeprefix("localhost")), options
        _check_url(text, _schemes())
        return re.sub(r"^([^?]*[^?:/])/+$", r"\1", text), options
    if (lost := _LOST.match(text)) and lost[1] in _schemes():
        meant = shown(f"{lost[1]}://{lost[2]}")
        looks = meant.replace("://", lost[0][len(lost[1]) : -len(lost[2]) or None], 1)
        text = f"/{lost[2]}" if lost[1] in _LOCAL else meant
        raise RequestError(
            f"{looks} is not the URL it looks like: write {text} as text, or a local path as "
            f"{Path(looks).absolute()}."
        )
    return os.path.realpath(os.path.expanduser(text)), options  # noqa: PTH111  leaves ~unknown


def _schemes() -> set[str]:
    from fsspec import available_protocols  # noqa: PLC0415  slow to import; no path needs it

    return {*available_protocols(), *_LOCAL}


def _path_of(rest: str) -> str:
    """Return the local path that follows the scheme of a file URL."""
    if not rest.startswith("/"):
        raise RequestError(
            f"file://{rest} is relative, which a file URL cannot be: write {Path(rest).absolute()}."
        )
    return os.path.realpath(rest)


def _check_url(text: str, schemes: set[str]) -> None:
    if re.search(r"://[^/?]*:(?!\d+/)[^?]*@", text):  # a password may have slashes
        raise RequestError(
            "The URL holds a password, and URLs are shown: pass it as a storage option instead."
        )
    first, *others = (link.partition("://") for link in text.split("::"))
    if first[0] not in schemes:
        raise RequestError(
            f"{shown(text)} cannot be opened: there is no store of the protocol {first[0]!r}. "
            f"Check the address, or write a local path as {Path(shown(text)).absolute()}."
        )
    if any(scheme not in schemes for scheme, *_ in others) or (others and not others[-1][1]):
        raise RequestError(
            f"{shown(text)} cannot be opened: in a URL :: chains stores, as in "
            "zip://a.zarr::s3://bucket/a.zip. Choose a name without it."
        )
    if others:
        return
    scheme, _, rest = first
    if not rest.strip("/") or (scheme in _BUCKETS and rest.startswith("/")):
        raise RequestError(
            f"{shown(text)} names no location in its store: write {scheme}://bucket/folder, and "
            "check that its variables are set."
        )
