"""Where cells come from: files, local or by URL, and AnnData objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cellucid_dask.errors import RequestError
from cellucid_dask.source.base import Source
from cellucid_dask.source.opening import (
    HDF5,
    ZIP,
    first_bytes,
    has_signature,
    refusing,
    what_it_is,
)
from cellucid_dask.store.address import is_address
from cellucid_dask.store.local import check_regular
from cellucid_dask.store.location import Location
from cellucid_dask.store.missing import not_there
from cellucid_dask.store.preflight import check_answers


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder that cells can be read from.

    Attributes
    ----------
    opener
        ``"module:function"``, imported on first use: makes a `Source` of a `Location`; of the
        name after the ``#`` of the path, ``None`` without one; of whether links may lead out of
        its folder; and of an `ExitStack`, to which it gives whatever has to be closed.
    suffixes
        Endings of its names.
    signature
        What its first bytes are, if it is a file that these tell from others.
    is_folder
        Whether it is a folder on a local disk.
    """

    opener: str
    suffixes: tuple[str, ...]
    signature: bytes = b""
    is_folder: bool = False


# Of several kinds that fit the suffix decides, then this order.
KINDS = {
    "zarr": Kind("cellucid_dask.source.anndata_file:open_zarr", (".zarr",), is_folder=True),
    "h5ad": Kind(
        "cellucid_dask.source.anndata_file:open_h5ad", (".h5ad", ".h5", ".hdf5", ".h5mu"), HDF5
    ),
    "zip": Kind("cellucid_dask.source.anndata_file:open_zip", (".zarr.zip",), ZIP),
}


@contextmanager
def open_source(
    source: Any, storage_options: Mapping[str, Any] | None = None, allow_links: bool = False
) -> Iterator[Source]:
    """Open an AnnData wherever it is, for as long as the block runs; only its metadata are read.

    Parameters
    ----------
    source
        Path or URL of an ``.h5ad`` file or an AnnData Zarr store, or an AnnData object
        in memory, backed or lazy; a `Source` is returned as it is.
    storage_options
        fsspec options for a URL.
    allow_links
        Whether links may lead out of the folder of the source.

    Raises
    ------
    RequestError
        It is not there, or not AnnData.
    """
    with ExitStack() as opened:
        yield _open(source, storage_options or {}, allow_links, opened)


def _open(
    source: Any, storage_options: Mapping[str, Any], allow_links: bool, opened: ExitStack
) -> Source:
    if isinstance(source, Source):
        return source
    if is_address(source):
        return _open_file(Location.of(source, storage_options), allow_links, opened)
    if all(hasattr(source, name) for name in ("obs", "var", "obsm", "layers", "n_obs")):
        from cellucid_dask.source.anndata_object import AnnDataSource  # noqa: PLC0415

        return AnnDataSource(source, allow_links)
    raise RequestError(
        f"The source is a {type(source).__name__}: pass a path or URL of an h5ad or AnnData Zarr, "
        "or an AnnData object."
    )


def _open_file(given: Location, allow_links: bool, opened: ExitStack) -> Source:
    location, part = _split_part(given)
    if location.is_local:
        if not Path(location.url).exists():
            raise not_there(location.url)
        check_regular(location.url)
    with refusing(location):
        check_answers(location)
        module, _, function = _kind_of(location).opener.partition(":")
        opener = getattr(import_module(module), function)
        source: Source = opener(location, part, allow_links, opened)
    return source


def _split_part(whole: Location) -> tuple[Location, str | None]:
    """Split ``#name`` off a path or URL, unless it belongs to the file's own name.

    On a local disk, what exists decides. In a URL the ``#`` must follow the suffix of a known
    kind, and no such suffix or folder may follow it.
    """
    stem, mark, part = whole.url.rpartition("#")
    location = Location.of(stem, whole.storage_options) if mark else whole
    if whole.is_local:
        is_part = not Path(whole.url).exists() and Path(location.url).exists()
    else:
        is_part = "/" not in part and _has_suffix(location) and not _has_suffix(whole)
    return (location, part) if is_part else (whole, None)


def _has_suffix(location: Location) -> bool:
    return any(location.name.endswith(kind.suffixes) for kind in KINDS.values())


def _kind_of(location: Location) -> Kind:
    """Find the kind by the first bytes of a file, or by its suffix if they say nothing."""
    folders = [each for each in KINDS.values() if each.is_folder]
    files = [each for each in KINDS.values() if not each.is_folder]
    if location.is_local and Path(location.url).is_dir():
        return _by_suffix(location, folders) or folders[0]
    if not location.is_local:
        kind = _by_suffix(location, folders)
        if kind or not location.path():  # the root of an archive in a chain of stores
            return kind or folders[0]
    begins = first_bytes(location)
    fitting = [
        each for each in files if each.signature and has_signature(begins or b"", each.signature)
    ]
    if fitting:
        return _by_suffix(location, fitting) or fitting[0]
    by_suffix = _by_suffix(location, files)
    if by_suffix is None and not location.is_local:
        return folders[0]
    if by_suffix is not None and (begins is None or not by_suffix.signature):
        return by_suffix
    raise RequestError(what_it_is(location))


def _by_suffix(location: Location, kinds: list[Kind]) -> Kind | None:
    return next((each for each in kinds if location.name.endswith(each.suffixes)), None)
