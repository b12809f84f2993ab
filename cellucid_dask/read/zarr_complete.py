"""Whether a complete export in the format cellucid-zarr is what a request would make again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cellucid_dask.display import first_few
from cellucid_dask.errors import ExportError
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output.cellucid_zarr.fields import export_tables
from cellucid_dask.output.cellucid_zarr.graph import GRAPH
from cellucid_dask.read.zarr_compare import compare_sample
from cellucid_dask.read.zarr_graph import same_content
from cellucid_dask.read.zarr_verify import CheckedStore, missing_files
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.target import Target

# Where settings are kept, each under its name.
_SETTING = re.compile(r"uns/(?:cellucid(?:_dask)?/)?([^/]+)")
_UNLIKE = {"obs/_index": "the cells are others", "var/_index": "the genes are others"}


def mismatches_of_store(target: Target, request: Request) -> Iterator[tuple[str, str]]:
    """Report what is wrong with an export: whether it is damage, settings or data, and what."""
    try:
        export = CheckedStore.read(target)
        for finding in (*export.damage, *missing_files(export)):
            yield "damage", finding
        stored, n_cells = export.stored, request.source.n_cells
        if stored.source.n_cells != n_cells:
            yield "data", f"of {stored.source.n_cells:,} cells, not {n_cells:,}"
            return
        tables = _other_tables(export, request)
        settings = {found[1] for path in tables if (found := _SETTING.match(path))}
        if any(path.startswith(GRAPH) for path in stored.metadata) != bool(request.neighbors):
            settings.add("connectivities")
        if settings:
            yield "settings", first_few(sorted(settings), 3)
        for name in sorted(map(_element, tables), key=lambda name: ("/" not in name, name)):
            yield "data", _UNLIKE.get(name, f"{name} does not match what would be exported")
        for difference in compare_sample(stored, request):
            yield "data", difference
    except ExportError as error:
        yield "damage", str(error).removeprefix(f"{target}/").rstrip(".")


def _element(path: str) -> str:
    """Return the column or array that a file is of, or the group that it describes."""
    group, name, *_ = path.split("/")
    return group if name.startswith(".") else f"{group}/{name}"


def _other_tables(export: CheckedStore, request: Request) -> set[str]:
    """Return the paths of the files of obs, var, obsm and uns that would differ."""
    target, sums = export.stored.target, export.checksums or {}
    other: set[str] = set()

    def compare(path: str, made: bytes) -> FileDigest:
        digest = FileDigest.of(made)
        if sums.get(path) != digest.sha256:  # otherwise the files of the export are not read
            found = target.read(path)
            if found is None or not same_content(path, found, made):
                other.add(path)
        return digest

    made = export_tables(request, compare, str(target)).files
    existing = {path for path in export.files if not path.startswith(("X/", f"{GRAPH}/", "."))}
    return other | (existing ^ made.keys())
