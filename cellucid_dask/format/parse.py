"""Parsing the JSON documents of an export.

Documents are untrusted input: every field is checked. Paths are built from keys by `names`, and
a document with any other path is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cellucid_dask.format import names
from cellucid_dask.format.decode import VALUE_DTYPE, DamageError
from cellucid_dask.format.edges import index_dtype
from cellucid_dask.format.schema import (
    Codes,
    Columns,
    Documents,
    Edges,
    Embeddings,
    File,
    Genes,
    Points,
    Vector,
)
from cellucid_dask.store.document import MAX_MEMORY, DocumentError, memory_of, parse_json
from cellucid_dask.types import Json

_DIMENSIONS = (1, 2, 3)
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_COUNT = 2**40  # far above any real number of cells or edges


def documents(files: Mapping[str, bytes]) -> Documents:
    """Parse the documents of an export; damaged ones are reported in the result.

    Parameters
    ----------
    files
        Content by name, of those that exist.
    """
    parsed: dict[str, Json] = {}
    parts: dict[str, Any] = {}
    damage = []
    memory = MAX_MEMORY
    for name, parse_part in _PARSERS.items():
        if name not in files:
            continue
        try:
            parsed[name] = parse_json(files[name], memory)
            memory -= memory_of(files[name])
            parts[name] = parse_part(parsed[name])
        except (DamageError, DocumentError) as error:
            damage.append(f"{name} {error}")
    return Documents(parsed, damage, *(parts.get(name) for name in _PARSERS))


def _header(document: Json) -> tuple[int, int | None]:
    """Check the format of a manifest; return the number of cells and the gzip level."""
    _expect(document, "_format", "compact_v1")
    return count(document, "n_points"), _level(document)


def genes(document: Json) -> Genes:
    """Parse ``var_manifest.json``.

    Raises
    ------
    DamageError
        The document is not valid.
    """
    n_cells, level = _header(document)
    bits = _bits(document.get("quantization"))
    schema = member(document, "_varSchema", dict)
    _expect(schema, "pathPattern", names.gene_pattern(bits, level is not None))
    vectors = {
        entry[0]: _vector(
            names.gene_path(entry[0], bits, level is not None), n_cells, bits, entry[0], entry[1:]
        )
        for entry in _entries(document, "fields")
    }
    if "normalize" in document:
        _expect(document, "normalize", "log1p-cp10k")
    id_column = member(document, "var_gene_id_column", str)
    layer = member({"layer": "X"} | document, "layer", str)
    return Genes(n_cells, level, bits, id_column, vectors, layer, document.get("normalize"))


def columns(document: Json) -> Columns:
    """Parse ``obs_manifest.json``.

    Raises
    ------
    DamageError
        The document is not valid.
    """
    n_cells, level = _header(document)
    compressed = level is not None
    schemas = member(document, "_obsSchemas", dict)
    continuous: dict[str, Vector] = {}
    if entries := _entries(document, "_continuousFields"):
        schema = member(schemas, "continuous", dict)
        bits = _bits(schema.get("quantizationBits"))
        _expect(schema, "pathPattern", names.obs_values_pattern(bits, compressed))
        for key, *value_range in entries:
            path = names.obs_values_path(key, bits, compressed)
            continuous[key] = _vector(path, n_cells, bits, key, value_range)
    categorical: dict[str, Codes] = {}
    outliers: dict[str, Vector] = {}
    if entries := _entries(document, "_categoricalFields"):
        schema = member(schemas, "categorical", dict)
        bits = _bits({"f32": None, "u8": 8, "u16": 16}.get(member(schema, "outlierExt", str), -1))
        _expect(schema, "codesPathPattern", names.obs_codes_pattern(compressed))
        _expect(schema, "outlierPathPattern", names.obs_outliers_pattern(bits, compressed))
        for key, *rest in entries:
            categorical[key] = _codes(key, rest, n_cells, compressed)
            path = names.obs_outliers_path(key, bits, compressed)
            outliers[key] = _vector(path, n_cells, bits, key, rest[4:])
    if twice := sorted(continuous.keys() & categorical.keys()):
        raise DamageError(f"names {twice[0]!r} twice")
    return Columns(n_cells, level, continuous, categorical, outliers)


def edges(document: Json) -> Edges:
    """Parse ``connectivity_manifest.json``.

    Raises
    ------
    DamageError
        The document is not valid.
    """
    _expect(document, "format", "edge_pairs")
    n_cells, n_edges = count(document, "n_cells"), count(document, "n_edges")
    level = _level(document)
    compressed = level is not None
    paths = names.edge_sources_path(compressed), names.edge_destinations_path(compressed)
    _expect(document, "sourcesPath", paths[0])
    _expect(document, "destinationsPath", paths[1])
    dtype = index_dtype(n_cells)
    _expect(document, "index_bytes", dtype.itemsize)
    sources, destinations = (File(path, dtype.str, (n_edges,), compressed) for path in paths)
    max_neighbors = count(document, "max_neighbors")
    return Edges(n_cells, level, n_edges, max_neighbors, sources, destinations)


def embeddings(document: Json) -> Embeddings:
    """Parse the part of ``dataset_identity.json`` that names files.

    Raises
    ------
    DamageError
        The document is not valid.
    """
    n_cells = count(member(document, "stats", dict), "n_cells")
    level = _level(member(document, "export_settings", dict))
    compressed = level is not None
    points: dict[int, Points] = {}
    if "embeddings" in document:
        entry = member(document, "embeddings", dict)
        for dimension in _available(entry, lambda each: names.points_path(each, compressed)):
            path = names.points_path(dimension, compressed)
            points[dimension] = Points(path, "<f4", (n_cells, dimension), compressed)
    vectors: dict[tuple[str, int], File] = {}
    if document.get("vector_fields"):
        fields = member(member(document, "vector_fields", dict), "fields", dict)
        for field in fields:
            if field != names.safe_name(field):
                raise DamageError(f"has a vector field {field!r}, which is not a safe name")
            entry = member(fields, field, dict)
            for dimension in _available(
                entry, lambda each, field=field: names.vectors_path(field, each, compressed)
            ):
                path = names.vectors_path(field, dimension, compressed)
                vectors[field, dimension] = File(path, "<f4", (n_cells, dimension), compressed)
    return Embeddings(n_cells, level, points, vectors)


def _available(entry: Json, path: Any) -> list[int]:
    dimensions: list[int] = member(entry, "available_dimensions", list)
    if any(each not in _DIMENSIONS or isinstance(each, bool) for each in dimensions):
        raise DamageError(f"has available_dimensions {dimensions!r:.80}, not some of 1, 2 and 3")
    _expect(entry, "files", {f"{each}d": path(each) for each in dimensions})
    return dimensions


def member(document: Json, key: str, kind: type) -> Any:
    """Return a member of an object, which must be of a kind.

    Raises
    ------
    DamageError
        It is not.
    """
    value = document.get(key)
    if not isinstance(value, kind):
        raise DamageError(f"has no {key} that is a {kind.__name__}")
    return value


def _expect(document: Json, key: str, value: object) -> None:
    if document.get(key) != value:
        raise DamageError(f"has {key} {document.get(key)!r:.80}, not {value!r}")


def count(document: Json, key: str) -> int:
    """Return a member of an object, which must be a number of cells, genes or edges.

    Raises
    ------
    DamageError
        It is not.
    """
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_COUNT:
        raise DamageError(f"has {key} {value!r:.40}, which is not a count")
    return value


def _level(document: Json) -> int | None:
    level = document.get("compression")
    if level is not None and (isinstance(level, bool) or level not in range(1, 10)):
        raise DamageError(f"has compression {level!r:.40}, which is not a gzip level")
    return level


def _bits(value: Any) -> int | None:
    if value not in (None, 8, 16):
        raise DamageError(f"has a quantization of {value!r:.40}, not 8, 16 or null")
    return None if value is None else int(value)


def _entries(document: Json, key: str) -> list[list[Any]]:
    entries: list[list[Any]] = member(document, key, list)
    seen: set[str] = set()
    for entry in entries:
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            raise DamageError(f"has an entry without a name in {key}")
        if entry[0] in seen:
            raise DamageError(f"names {entry[0]!r} twice in {key}")
        seen.add(entry[0])
    if shared := names.collisions(seen):
        one, two, name = shared[0]
        raise DamageError(f"has {one!r} and {two!r} in {key}, which share the file {name}")
    return entries


def _vector(path: str, n_cells: int, bits: int | None, key: str, given: list[Any]) -> Vector:
    value_range = None if bits is None else _value_range(key, given)
    compressed = path.endswith(names.suffix(compressed=True))
    return Vector(path, VALUE_DTYPE[bits], (n_cells,), compressed, key, value_range)


def _value_range(key: str, given: list[Any]) -> tuple[float, float]:
    numbers = [
        each for each in given if isinstance(each, int | float) and abs(each) <= _MAX_FLOAT32
    ]
    if len(given) != 2 or len(numbers) != 2:
        raise DamageError(f"has no smallest and largest value of {key!r}")
    lowest, highest = map(float, numbers)
    if lowest > highest:
        raise DamageError(f"says that {key!r} goes from {lowest} to {highest}, which is less")
    return lowest, highest


def _codes(key: str, rest: list[Any], n_cells: int, compressed: bool) -> Codes:
    try:
        categories, dtype, missing, _ = rest[:4]
        path = names.obs_codes_path(key, dtype, compressed)
    except (ValueError, KeyError, TypeError):
        raise DamageError(f"does not say how {key!r} is stored") from None
    width = 1 if dtype == "uint8" else 2
    if missing != 256**width - 1 or isinstance(missing, bool):
        raise DamageError(f"marks missing values of {key!r} by {missing!r:.40}")
    if not isinstance(categories, list) or not all(isinstance(each, str) for each in categories):
        raise DamageError(f"has categories of {key!r} that are not a list of strings")
    if len(set(categories)) < len(categories) or len(categories) > missing:
        raise DamageError(f"has categories of {key!r} that repeat, or too many of them")
    return Codes(path, f"<u{width}", (n_cells,), compressed, key, tuple(categories), missing)


# In the order of the attributes of `Documents`.
_PARSERS: dict[str, Callable[[Json], Any]] = {
    names.IDENTITY: embeddings,
    names.OBS_MANIFEST: columns,
    names.VAR_MANIFEST: genes,
    names.CONNECTIVITY_MANIFEST: edges,
}
