"""The call that adds the page to an export made before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellucid_dask.format import names
from cellucid_dask.output.cellucid_zarr.arrays import METADATA
from cellucid_dask.page import Kind
from cellucid_dask.page.publish import publish_page
from cellucid_dask.read.files import no_export
from cellucid_dask.store.lease import acquire_lease
from cellucid_dask.store.preflight import check_writable
from cellucid_dask.store.target import Target
from cellucid_dask.types import PathOrUrl


def add_page(target: PathOrUrl, storage_options: Mapping[str, Any] | None = None) -> str:
    """Write this version's page into an export, or into the folder of several.

    Parameters
    ----------
    target
        Folder or URL of a complete export, or one that has ``datasets.json``.
    storage_options
        fsspec options for a URL.

    Returns
    -------
    str
        The target, as an absolute path or URL.

    Raises
    ------
    RequestError
        There is no complete export and no catalog, another run is writing there, the target is
        not writable, or it has an ``index.html`` of its own.
    """
    opened = Target.of(target, storage_options or {})
    documents = opened.names()
    is_zarr = METADATA in documents
    if not is_zarr and names.IDENTITY not in documents and names.CATALOG not in documents:
        raise no_export(
            opened,
            f"it has neither {names.IDENTITY} nor {names.CATALOG}. Name an export, or list "
            "several with cellucid-dask catalog first",
        )
    check_writable(opened)
    with acquire_lease(opened):
        kind: Kind = "export" if names.IDENTITY in documents else "catalog"
        publish_page(opened, "zarr" if is_zarr else kind)
    return str(opened)
