"""Comparing points, vector fields, cell metadata and the neighbor graph with the source.

They are exported again, with the settings that the identity names, and compared as they come.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import names, schema
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.decode import DamageError
from cellucid_dask.format.manifests import to_json
from cellucid_dask.output.compact_v1.edges import export_request_edges
from cellucid_dask.output.compact_v1.fields import export_fields
from cellucid_dask.read.files import read_file
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.source.base import Source
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

# Sums of floats differ in their last digits between versions of numpy and processors.
_CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def compare_fields(
    target: Target, documents: schema.Documents, source: Source, settings: Settings
) -> Iterator[str]:
    """Report what does not match the source, one sentence each.

    Parameters
    ----------
    target
        Where the export is.
    documents
        Of an export that says what it was made of, see `fields_settings`.
    source
        Of as many cells.
    settings
        The result of `fields_settings`.
    """
    comparison = _Comparison(target, {file.path: file for file in documents.files()})
    try:
        request = resolve(source, settings, with_genes=False)
        fields = export_fields(request, comparison.take)
    except RequestError as error:
        yield f"the source cannot be exported like this any more: {error}"
        return
    yield from comparison.findings
    stated = documents.json[names.OBS_MANIFEST]
    made = json.loads(to_json({"fields": [*fields.continuous, *fields.categorical]}))["fields"]
    if documents.columns is not None:
        yield from comparison.other_labels(documents.columns, fields.categorical)
    yield from _entries(
        [*stated.get("_continuousFields", []), *stated.get("_categoricalFields", [])], made
    )
    if request.neighbors is not None and documents.edges is not None:
        yield from _edges(target, documents.edges, request)


def fields_settings(
    documents: schema.Documents, memory_budget: int | str | None
) -> Settings | None:
    """Return the settings with which all but the genes would be exported again.

    Returns
    -------
    Settings or None
        None if the export does not say what it was made of, as those of other programs.
    """
    if documents.columns is None or documents.embeddings is None:
        return None
    recorded = documents.identity["export_settings"]
    if not isinstance(recorded.get("embeddings"), list):
        return None
    columns = documents.columns
    return Settings(
        memory_budget=memory_budget,
        obs_keys=[*columns.continuous, *columns.categorical],
        embeddings=recorded["embeddings"],
        latent=recorded.get("latent"),
        vector_fields=recorded.get("vector_fields") or None,
        connectivities=recorded.get("connectivities"),
        compression=documents.embeddings.level,
        obs_continuous_quantization=recorded.get("obs_continuous_quantization"),
        obs_categorical_dtype=recorded.get("obs_categorical_dtype", "auto"),
        centroid_min_points=recorded.get("centroid_min_points", 10),
        centroid_outlier_quantile=documents.json[names.OBS_MANIFEST]["centroid_outlier_quantile"],
        progress=False,
    )


@dataclass
class _Comparison:
    """Files as they are made, compared with those of the export."""

    target: Target
    files: dict[str, schema.File]
    findings: list[str] = field(default_factory=list)
    codes: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def take(self, name: str, data: bytes) -> FileDigest:
        """Compare one file instead of writing it."""
        if file := self.files.get(name):
            self._compare(name, file, data)
        else:
            self.findings.append(f"{name} of the source is not in the export")
        return FileDigest.size_of(data)

    def _compare(self, name: str, file: schema.File, data: bytes) -> None:
        try:
            stored = read_file(self.target, file)
        except (ExportError, DamageError):  # which is reported elsewhere
            return
        if isinstance(file, schema.Codes):  # categories may come in another order
            pairs = stored.astype(np.int64) << 16 | file.decode(data)
            self.codes[file.key] = np.unique(pairs, return_counts=True)
        elif different := _n_different(file, stored, file.decode(data)):
            self.findings.append(f"{name}: {different:,} values do not match the source")

    def other_labels(self, columns: schema.Columns, made: list[list[Any]]) -> Iterator[str]:
        """Report cells that have another category than in the source."""
        for key, categories, _, missing, *_ in made:
            file = columns.categorical[key]
            stated = dict(enumerate(file.categories)) | {file.missing: None}
            labels = dict(enumerate(categories)) | {missing: None}
            pairs, counts = self.codes.get(key, ([], []))
            different = sum(
                int(count)
                for pair, count in zip(pairs, counts, strict=True)
                if stated.get(int(pair) >> 16) != labels.get(int(pair) & 0xFFFF)
            )
            if different:
                yield f"{file.path}: {different:,} values do not match the source"


def _n_different(file: schema.File, stored: Array, made: Array) -> int:
    """Count values that differ by more than sums of floats may."""
    if stored.dtype.kind == "f":
        return int((~np.isclose(stored, made, **_CLOSE, equal_nan=True)).sum())
    if isinstance(file, schema.Vector) and ".outliers." in file.path:
        steps = np.abs(stored.astype(np.int64) - made)
        return int((steps > 1).sum())
    return int((stored != made).sum())


def _entries(stated: list[Any], made: list[Any]) -> Iterator[str]:
    """Compare the entries of columns: categories and centroids in any order, ranges."""
    for one, other in zip_longest(stated, made):
        if not _alike(_in_order(one), _in_order(other)):
            key = (one or other)[0]
            yield f"{names.OBS_MANIFEST}: what it says of {key!r} does not match the source"


def _in_order(entry: list[Any] | None) -> list[Any] | None:
    if entry is None or len(entry) < 5:
        return entry
    key, categories, dtype, missing, centroids, *outlier_range = entry
    sorted_centroids = {
        dimension: sorted(each, key=lambda centroid: str(centroid["category"]))
        for dimension, each in centroids.items()
    }
    return [key, sorted(categories), dtype, missing, sorted_centroids, *outlier_range]


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers approximately."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_CLOSE["rtol"], abs_tol=_CLOSE["atol"])
    return bool(one == other)


def _edges(target: Target, edges: schema.Edges, request: Request) -> Iterator[str]:
    """Make the edges again in a temporary folder and compare both ends of each."""
    with tempfile.TemporaryDirectory(prefix="cellucid-dask-") as folder:
        again = Target.of(folder, {})
        export_request_edges(request, again)
        for file in edges.files():
            if not _are_equal(_chunks(target, file), _chunks(again, file)):
                yield f"{file.path}: the edges do not match the source"


def _chunks(target: Target, file: schema.File) -> Iterator[Array]:
    data = target.read(file.path, file.max_bytes)
    if data is not None:
        yield from file.chunks(data)


def _are_equal(one: Iterable[Array], other: Iterable[Array]) -> bool:
    try:
        return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    except (DamageError, ValueError):  # one of them is shorter
        return False
