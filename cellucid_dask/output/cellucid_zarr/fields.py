"""All of an AnnData but ``X`` and ``obsp``: ``obs``, ``var``, ``obsm`` and ``uns``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError
from cellucid_dask.fields.points import unfit
from cellucid_dask.format import names
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output.cellucid_zarr.arrays import ArraySpec, Hierarchy, encoding
from cellucid_dask.output.cellucid_zarr.graph import made_of_graph
from cellucid_dask.output.cellucid_zarr.tables import as_stored, write_table
from cellucid_dask.request.resolve import Request
from cellucid_dask.source.claims import check_rows
from cellucid_dask.source.reading import UnreadableError
from cellucid_dask.types import Json

# What a reader shows where no default says what.
_SHOWN = ("X_umap", "X_UMAP", "X_wnn.umap", "X_ref.umap")
# What cannot be part of a path in every store, on every disk.
_FORBIDDEN = re.compile(r'[/\\<>:"|?*\x00-\x1f]')
OURS = "cellucid_dask"  # of uns
_TAKEN = {"_index", ".", "..", ".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


@dataclass(frozen=True)
class Tables:
    """What an export contains beside ``X`` and ``obsp``.

    Attributes
    ----------
    files
        Digests of the files, by path.
    metadata
        What describes groups and arrays, by path.
    warnings
        What the user should know.
    """

    files: dict[str, FileDigest]
    metadata: dict[str, Json]
    warnings: tuple[str, ...]


def export_tables(
    request: Request, keep: Callable[[str, bytes], FileDigest], target: str
) -> Tables:
    """Read, check and encode ``obs``, ``var``, ``obsm`` and ``uns``, one array at a time.

    Parameters
    ----------
    request
        What to export.
    keep
        Receives path and content of each file, and returns its digest.
    target
        Where the export goes, which gives it a name if nothing else does.

    Raises
    ------
    RequestError
        A column or an array cannot be exported.
    """
    store = Hierarchy(keep)
    warnings: list[str] = []
    _write_obs(store, request, warnings)
    _write_var(store, request, warnings)
    shown = _write_obsm(store, request, warnings)
    for name in ("obsp", "varm", "varp", "layers"):
        store.group(name, encoding("dict", "0.1.0"))
    store.mapping("uns", _uns(request, target, shown))
    return Tables(store.files, store.metadata, tuple(warnings))


def _check_name(what: str, name: str) -> None:
    if not name or name in _TAKEN or _FORBIDDEN.search(name) or name.endswith((" ", ".")):
        raise RequestError(
            f"{what} {name!r} cannot be a folder of a Zarr store: rename it, or leave it out."
        )


def _write_obs(store: Hierarchy, request: Request, warnings: list[str]) -> None:
    source = request.source
    ids = source.cell_ids()
    check_rows("The index of obs", len(ids), source.n_cells)
    index = _told_apart(ids)
    if index is not ids:
        warnings.append("Some cells have the same name: they are told apart by a number.")
    for key in request.obs_keys:
        _check_name("The obs column", key)
    unknown: list[str] = []
    write_table(store, "obs", index, _obs_columns(request, warnings, unknown))
    if unknown:
        warnings.append(
            f"obs columns {', '.join(unknown)} are of a kind that AnnData cannot store and are "
            "skipped: convert them to numbers or strings."
        )


def _obs_columns(
    request: Request, warnings: list[str], unknown: list[str]
) -> Iterator[tuple[str, Any]]:
    named = request.settings.obs_keys is not None
    for key in request.obs_keys:
        try:
            read = request.source.obs(key)
            check_rows(f"The obs column {key!r}", len(read), request.source.n_cells)
            column = as_stored(read)
        except UnreadableError as error:
            if named:
                raise
            warnings.append(f"{str(error).rstrip('.')}. It is skipped.")
            continue
        if column is not None:
            yield key, _finite(key, column, warnings)
        elif named:
            raise RequestError(
                f"obs column {key!r} is of a kind that AnnData cannot store: convert it to numbers "
                "or strings."
            )
        else:
            unknown.append(key)


def _finite(key: str, column: Any, warnings: list[str]) -> Any:
    """Return a column with NaN for infinite values, for which no color stands."""
    if not isinstance(column, np.ndarray) or column.dtype.kind != "f":
        return column
    infinite = np.isinf(column)
    if not infinite.any():
        return column
    warnings.append(
        f"obs column {key!r} holds {np.count_nonzero(infinite):,} infinite values: they are stored "
        "as missing."
    )
    return np.where(infinite, np.nan, column)


def _write_var(store: Hierarchy, request: Request, warnings: list[str]) -> None:
    genes = request.genes
    if genes is None:
        write_table(store, "var", [], [])
        return
    table = request.source.var(request.settings.layer)
    columns: dict[str, Any] = {}
    for name in map(str, table.columns):
        _check_name("The var column", name)
        try:
            column = as_stored(pd.Series(table[name]).iloc[genes.columns])
        except UnreadableError as error:
            warnings.append(f"{str(error).rstrip('.')}. It is skipped.")
            continue
        if column is None:
            warnings.append(f"var column {name!r} is of a kind that AnnData cannot store.")
        else:
            columns[name] = column
    write_table(store, "var", _gene_names(request), columns.items())


def _gene_names(request: Request) -> Sequence[str]:
    """Return the index of var: the ids, or if a column has them what it was."""
    genes = request.genes
    if genes is None or request.settings.var_gene_id_column == "index":
        return [] if genes is None else list(genes.ids)
    index = pd.Index(request.source.var(request.settings.layer).index)[genes.columns]
    return _told_apart(index.astype(str).tolist())


def _told_apart(names: Sequence[str]) -> Sequence[str]:
    """Return names, with a number where one came before, as anndata does."""
    if len(set(names)) == len(names):
        return names
    from anndata.utils import make_index_unique  # noqa: PLC0415  slow to import

    return list(make_index_unique(pd.Index(np.array(names, object))))


def _write_obsm(store: Hierarchy, request: Request, warnings: list[str]) -> dict[str, int]:
    """Write the arrays of obsm; return their widths."""
    source, settings = request.source, request.settings
    store.group("obsm", encoding("dict", "0.1.0"))
    chosen = [each.key for each in request.embeddings.values()]
    required = {*chosen, *(each.key for each in request.vector_fields)}
    keys = list(source.obsm_widths)
    if settings.embeddings is not None:
        keys = [key for key in keys if key in required]
    written: dict[str, int] = {}
    for key in keys:
        _check_name("The obsm array", key)
        values = source.obsm(key)
        check_rows(f"The obsm array {key!r}", values.shape[0], source.n_cells)
        if len(values.shape) != 2 or not values.shape[1] or (reason := unfit(values)):
            if key in required:
                raise RequestError(f"The obsm array {key!r} {reason}: it cannot be exported.")
            warnings.append(f"The obsm array {key!r} {reason or 'is empty'}: it is skipped.")
            continue
        shape = (int(values.shape[0]), int(values.shape[1]))
        store.values(ArraySpec.rows(f"obsm/{key}", shape, np.float32), _Float32(values, shape))
        written[key] = shape[1]
    return written


@dataclass(frozen=True)
class _Float32:
    """An array that is read by rows, as float32."""

    values: Any
    shape: tuple[int, int]

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        return as_float32(np.asarray(self.values[rows.start : min(rows.stop, self.shape[0])]))


def _uns(request: Request, target: str, written: dict[str, int]) -> Json:
    """Return what is said of the data set, and what `verify` needs to know of its source."""
    settings = request.settings
    name = settings.dataset_name or names.dataset_id(None, None, target)
    about: Json = {
        "schema": 1,
        "id": names.dataset_id(settings.dataset_id, settings.dataset_name, target),
        "name": name,
    }
    if settings.dataset_description:
        about["description"] = settings.dataset_description
    if settings.source_citation:
        about["citation"] = {"text": settings.source_citation}
    if settings.source_name or settings.source_url:
        about["source"] = {"name": settings.source_name or settings.source_url}
        if settings.source_url:
            about["source"]["url"] = settings.source_url
    if defaults := _defaults(request, written):
        about["defaults"] = defaults
    made_of: Json = {"layer": settings.layer}
    if settings.normalize is not None:
        made_of["normalize"] = settings.normalize
    made_of |= made_of_graph(settings.connectivities)
    return {"title": name, "cellucid": about, OURS: made_of}


def _defaults(request: Request, written: dict[str, int]) -> Json:
    """Return what a reader should show where it would show something else."""
    defaults: Json = {}
    by_itself = shown_by_default(written)
    chosen = request.embeddings
    asked = request.settings.embeddings is not None or not by_itself
    whole = {d: each.key for d, each in chosen.items() if written[each.key] == d}
    if asked and (whole != by_itself or len(whole) < len(chosen)):
        for d, each in chosen.items():
            is_whole = each.columns == tuple(range(written[each.key]))
            spec = each.key if is_whole else {"key": each.key, "columns": list(each.columns)}
            defaults[f"embedding{d}d"] = spec
    if request.genes is not None and request.settings.var_gene_id_column != "index":
        defaults["geneIdColumn"] = request.settings.var_gene_id_column
    return defaults


def shown_by_default(widths: Mapping[str, int]) -> dict[int, str]:
    """Return which arrays of obsm a reader shows where nothing says what, by dimension."""
    named = {d: f"X_umap_{d}d" for d in (1, 2, 3)}
    found = {d: key for d, key in named.items() if widths.get(key) == d}
    if not found:
        key = next((key for key in _SHOWN if 1 <= widths.get(key, 0) <= 3), None)
        found = {} if key is None else {widths[key]: key}
    return found
