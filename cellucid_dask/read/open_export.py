"""The call that opens an export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import names
from cellucid_dask.output.cellucid_zarr.store import StoredExport, is_store
from cellucid_dask.read.export import Export
from cellucid_dask.read.files import read_documents
from cellucid_dask.read.zarr_export import ZarrExport
from cellucid_dask.store.target import Target
from cellucid_dask.types import PathOrUrl


def open_export(target: PathOrUrl, storage_options: Mapping[str, Any] | None = None) -> Export:
    """Open an export to read it. Only the JSON documents are read until you access an array.

    Parameters
    ----------
    target
        Folder, or URL of a prefix in any fsspec store, including web servers.
    storage_options
        fsspec options of the URL.

    Returns
    -------
    Export
        The export.

    Raises
    ------
    RequestError
        There is no complete export.
    ExportError
        A document is damaged.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> exported = cd.open_export("exports/atlas")
    >>> exported.n_cells, exported.genes[:3]
    (300, ['MS4A1', 'IL7R', 'CD8A'])
    >>> exported.gene("LYZ").shape
    (300,)
    """
    opened = Target.of(target, storage_options or {})
    if is_store(opened):
        return ZarrExport(StoredExport.open(opened))
    documents = read_documents(opened)
    if documents.damage:
        raise ExportError(f"{opened}/{documents.damage[0]}.")
    if names.IDENTITY not in documents.json and names.OBS_MANIFEST in documents.json:
        raise RequestError(
            f"{opened} contains no complete export: it has no {names.IDENTITY}, which is "
            "written last. Run its export again."
        )
    if len({part.n_cells for part in documents.parts.values()}) != 1:
        raise ExportError(f"The documents of {opened} disagree on the number of cells.")
    return Export(opened, documents)
