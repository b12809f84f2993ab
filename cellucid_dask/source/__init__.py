"""Where cells come from: h5ad and Zarr, local or by URL, and AnnData objects."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from cellucid_dask.errors import RequestError
from cellucid_dask.source.base import Source


def open_source(source: Any, storage_options: Mapping[str, Any] | None = None) -> Source:
    """Open an AnnData wherever it is; only its metadata are read.

    Parameters
    ----------
    source
        Path or URL of an ``.h5ad`` file or an AnnData Zarr store, or an AnnData object
        in memory, backed or lazy; a `Source` is returned as it is.
    storage_options
        fsspec options for a URL.

    Raises
    ------
    RequestError
        It is not there, or not AnnData.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | PathLike):
        from cellucid_dask.source.anndata_file import open_file  # noqa: PLC0415

        return open_file(fspath(source), dict(storage_options or {}))
    if all(hasattr(source, name) for name in ("obs", "var", "obsm", "layers", "n_obs")):
        from cellucid_dask.source.anndata_object import AnnDataSource  # noqa: PLC0415

        return AnnDataSource(source)
    raise RequestError(
        f"The source is a {type(source).__name__}: pass a path or URL of an h5ad or AnnData Zarr, "
        "or an AnnData object."
    )
