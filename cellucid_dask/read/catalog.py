"""The call that lists the exports under one root in a catalog."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from cellucid_dask.errors import ExportError, ExportWarning, RequestError
from cellucid_dask.format import names
from cellucid_dask.format.catalog import Entry, catalog_document
from cellucid_dask.format.decode import DamageError
from cellucid_dask.format.manifests import to_json
from cellucid_dask.output.cellucid_zarr.arrays import METADATA
from cellucid_dask.output.cellucid_zarr.store import describe_below
from cellucid_dask.page.publish import publish_page
from cellucid_dask.read.files import no_export
from cellucid_dask.store.document import DocumentError, parse_json
from cellucid_dask.store.preflight import check_writable
from cellucid_dask.store.target import Target
from cellucid_dask.types import PathOrUrl


def catalog(
    root: PathOrUrl,
    storage_options: Mapping[str, Any] | None = None,
    default: str | None = None,
    *,
    page: bool = True,
) -> dict[str, Any]:
    """List the exports in the subfolders of a folder in its ``datasets.json``.

    Parameters
    ----------
    root
        Folder, or URL of a prefix in any fsspec store, whose direct subfolders are exports.
        Subfolders without a complete export are skipped; a damaged one gives a warning.
    storage_options
        fsspec options of the root.
    default
        The ID of the data set to show first. ``None`` uses the first folder.
    page
        Write the viewer page.

    Returns
    -------
    dict
        The content of ``datasets.json``.

    Raises
    ------
    RequestError
        There is no export, two exports have the same ID, there is no data set `default`, or the
        root is not writable.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> listed = cd.catalog("exports", default="atlas")
    >>> listed["default"], [each["path"] for each in listed["datasets"]]
    ('atlas', ['atlas/'])
    """
    target = Target.of(root, storage_options or {})
    document = describe_root(target, default)
    check_writable(target)
    if page:
        publish_page(target, "catalog")
    target.publish(names.CATALOG, to_json(document, indent=2))
    return document


def describe_root(target: Target, default: str | None = None) -> dict[str, Any]:
    """Return the catalog of the exports in the subfolders of a root, without writing it.

    Raises
    ------
    RequestError
        There is no export, two have the same id, or none has the id `default`.
    """
    entries = _entries(target)
    if not entries:
        raise no_export(target, "name the folder whose subfolders are exports")
    by_id: dict[str, Entry] = {}
    for entry in entries:
        other = by_id.setdefault(entry.id, entry)
        if other is not entry:
            raise RequestError(
                f"{other.folder} and {entry.folder} both have the id {entry.id!r}: export one of "
                "them again with another --dataset-id."
            )
    if default is not None and default not in by_id:
        raise RequestError(
            f"There is no data set {default!r} in {target}; it has {', '.join(by_id)}."
        )
    return catalog_document(entries, entries[0].id if default is None else default)


def _entries(target: Target) -> list[Entry]:
    """Read the identities of the subfolders, in the order of their names."""
    entries = []
    for folder in sorted(target.folders()):
        name = f"{folder}/{names.IDENTITY}"
        try:
            if (identity := target.read(name)) is not None:
                entries.append(Entry.of(folder, parse_json(identity)))
                continue
            name = f"{folder}/{METADATA}"
            if (described := describe_below(target, folder)) is not None:
                entries.append(Entry.of(folder, described, "cellucid-zarr"))
        except (ExportError, DamageError, DocumentError) as error:
            why = str(error) if isinstance(error, ExportError) else f"{target}/{name} {error}."
            warnings.warn(f"{why} {folder} is skipped.", ExportWarning, stacklevel=3)
    return entries
