"""Where cells come from: files, local or by URL, and AnnData objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from cellucid_dask.errors import RequestError
from cellucid_dask.source.base import Source
from cellucid_dask.store.location import Location


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder that cells can be read from.

    Attributes
    ----------
    opener
        ``"module:function"``, imported on first use: makes a `Source` of a `Location`, of the
        name after the ``#`` of the path, ``None`` without one, and of whether links may lead
        out of its folder.
    suffixes
        Endings of its names.
    is_folder
        Whether it is a folder on a local disk.
    """

    opener: str
    suffixes: tuple[str, ...]
    is_folder: bool = False


# A file or folder without a known suffix is of the first kind that fits, and a URL of the first.
KINDS = {
    "zarr": Kind("cellucid_dask.source.anndata_file:open_zarr", (".zarr",), is_folder=True),
    "h5ad": Kind("cellucid_dask.source.anndata_file:open_h5ad", (".h5ad", ".h5", ".hdf5", ".h5mu")),
    "zip": Kind("cellucid_dask.source.anndata_file:open_zip", (".zarr.zip",)),
}


def open_source(
    source: Any, storage_options: Mapping[str, Any] | None = None, allow_links: bool = False
) -> Source:
    """Open an AnnData wherever it is; only its metadata are read.

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
    if isinstance(source, Source):
        return source
    if isinstance(source, str | PathLike):
        return _open_file(fspath(source), storage_options or {}, allow_links)
    if all(hasattr(source, name) for name in ("obs", "var", "obsm", "layers", "n_obs")):
        from cellucid_dask.source.anndata_object import AnnDataSource  # noqa: PLC0415

        return AnnDataSource(source, allow_links)
    raise RequestError(
        f"The source is a {type(source).__name__}: pass a path or URL of an h5ad or AnnData Zarr, "
        "or an AnnData object."
    )


def _open_file(path: str, storage_options: Mapping[str, Any], allow_links: bool) -> Source:
    location, part = _split_part(path, storage_options)
    if location.is_local and not Path(location.url).exists():
        raise RequestError(f"{location.url} does not exist.")
    if location.is_local and not (Path(location.url).is_file() or Path(location.url).is_dir()):
        raise RequestError(f"{location.url} is neither a file nor a folder: write the data to one.")
    kind = _kind_of(location)
    module, _, function = kind.opener.partition(":")
    opener = getattr(import_module(module), function)
    source: Source = opener(location, part, allow_links)
    return source


def _split_part(path: str, storage_options: Mapping[str, Any]) -> tuple[Location, str | None]:
    """Split ``#name`` off a path or URL, unless it belongs to the file's own name.

    On a local disk, what exists decides. In a URL the ``#`` must follow the suffix of a known
    kind, and no such suffix or folder may follow it.
    """
    whole = Location.of(path, storage_options)
    stem, mark, part = path.rpartition("#")
    location = Location.of(stem, storage_options) if mark else whole
    if whole.is_local:
        is_part = not Path(whole.url).exists() and Path(location.url).exists()
    else:
        is_part = "/" not in part and _has_suffix(location) and not _has_suffix(whole)
    return (location, part) if is_part else (whole, None)


def _has_suffix(location: Location) -> bool:
    return any(location.name.endswith(kind.suffixes) for kind in KINDS.values())


def _kind_of(location: Location) -> Kind:
    kinds = list(KINDS.values())
    if location.is_local:
        kinds = [each for each in kinds if each.is_folder == Path(location.url).is_dir()]
    return next((each for each in kinds if location.name.endswith(each.suffixes)), kinds[0])
