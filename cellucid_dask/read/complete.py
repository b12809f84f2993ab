"""Whether a complete export is what a request would make again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from cellucid_dask.display import first_few, printable
from cellucid_dask.errors import RequestError
from cellucid_dask.format import names
from cellucid_dask.output.compact_v1.manifests import other_settings
from cellucid_dask.read.compare import compare_sample
from cellucid_dask.read.compare_fields import compare_fields
from cellucid_dask.read.scan import ScannedExport, misplaced
from cellucid_dask.read.zarr_complete import mismatches_of_store
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json

_MESSAGES = {
    "damage": "contains a complete export, but it is damaged ({what}): pass --force to replace it.",
    "settings": "already contains an export with another {what}: there is nothing to resume, or "
    "pass --force to replace it.",
    "data": "already contains an export of other data ({what}): there is nothing to resume, or "
    "pass --force to replace it.",
}


def check_complete(target: Target, request: Request) -> None:
    """Check that a complete export is that of a request, so that nothing is left to do.

    Points and cell metadata are compared as a whole with the source, of the genes the names and
    a sample of the values.

    Raises
    ------
    RequestError
        It is another one, or files of it are missing.
    """
    is_store = request.settings.format == "cellucid-zarr"
    found = (mismatches_of_store if is_store else _mismatches)(target, request)
    for kind, what in found:
        raise RequestError(f"{target} {_MESSAGES[kind].format(what=printable(what, kept=''))}")


def _mismatches(target: Target, request: Request) -> Iterator[tuple[str, str]]:
    """Report what is wrong with an export as compact_v1: of which kind, and what."""
    export = ScannedExport.read(target)
    for finding in (*export.damage, *export.documents.damage):
        yield "damage", finding
    for finding in misplaced(export):
        if "is missing" in finding:
            yield "damage", finding
    documents = {**export.documents.json, **_aliases(target)}
    if other := other_settings(documents, target, request):
        yield "settings", first_few(other, 3)
    for difference in _differences(export, request):
        yield "data", difference


def _aliases(target: Target) -> dict[str, Json]:
    data = target.read(names.ALIASES)
    return {} if data is None else {names.ALIASES: json.loads(data)}


def _differences(export: ScannedExport, request: Request) -> Iterator[str]:
    documents, settings = export.documents, request.settings
    if documents.n_cells != request.source.n_cells:
        yield f"of {documents.n_cells:,} cells, not {request.source.n_cells:,}"
        return
    if not settings.genes_only:
        fields = replace(settings, connectivities=None)
        yield from compare_fields(export.target, documents, request.source, fields)
    if request.genes is None or documents.genes is None:
        return
    if tuple(documents.genes.vectors) != request.genes.ids:
        yield "the genes are others"
    else:
        yield from compare_sample(export.target, documents.genes, request)
