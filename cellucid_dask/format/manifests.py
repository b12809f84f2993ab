"""The JSON documents of an export, built from what is known of its arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from cellucid_dask.format import names
from cellucid_dask.types import Json


class Continuous(Protocol):
    """A column of numbers: its name and range."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def lo(self) -> float: ...  # noqa: D102
    @property
    def hi(self) -> float: ...  # noqa: D102


class Categorical(Continuous, Protocol):
    """A column of categories: its codes and where they lie; the range is of outlier quantiles."""

    @property
    def categories(self) -> list[str]: ...  # noqa: D102
    @property
    def codes_dtype(self) -> str: ...  # noqa: D102
    @property
    def missing(self) -> int: ...  # noqa: D102
    @property
    def centroids_by_dim(self) -> dict[int, list[Json]]: ...  # noqa: D102


FORMAT = "compact_v1"
IDENTITY_VERSION = 2

_DTYPE = {None: "float32", 8: "uint8", 16: "uint16"}


def to_json(manifest: Json, indent: int | None = None) -> bytes:
    """Return a document as strict JSON in UTF-8.

    Parameters
    ----------
    manifest
        What a function of this module returned; numpy scalars are welcome.
    indent
        Spaces a level; None for the compact form.

    Returns
    -------
    bytes
        The document. NaN and infinities are a ValueError.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        manifest,
        indent=indent,
        separators=separators,
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    )
    # A lone surrogate (undecodable bytes in an HDF5 file) has no UTF-8, and what
    # this handler writes for it is exactly its JSON escape.
    return text.encode("utf-8", "backslashreplace")


def var_manifest(
    n_cells: int,
    var_gene_id_column: str,
    compression: int | None,
    quantization: int | None,
    fields: Iterable[tuple[str, float, float]],
) -> Json:
    """Describe the genes of an export.

    Parameters
    ----------
    n_cells
        Length of every vector.
    var_gene_id_column
        Column that names the genes, or ``"index"``.
    compression
        gzip level 1-9, or None.
    quantization
        8, 16, or None for float32.
    fields
        Gene, smallest and largest value, in the order exported.

    Returns
    -------
    dict
        The content of ``var_manifest.json``.
    """
    pattern = names.gene_pattern(quantization, bool(compression))
    return {
        "_format": FORMAT,
        "n_points": int(n_cells),
        "var_gene_id_column": var_gene_id_column,
        "compression": compression or None,
        "quantization": quantization,
        "_varSchema": {"kind": "continuous", **_values_schema(pattern, quantization)},
        "fields": [_ranged([gene], lo, hi, quantization) for gene, lo, hi in fields],
    }


def obs_manifest(
    n_cells: int,
    compression: int | None,
    quantization: int | None,
    *,
    centroid_outlier_quantile: float,
    continuous: Iterable[Continuous],
    categorical: Iterable[Categorical],
) -> Json:
    """Describe the cell metadata of an export.

    Parameters
    ----------
    n_cells
        Length of every column.
    compression
        gzip level 1-9, or None.
    quantization
        Bits of continuous values and outlier quantiles: 8, 16, or None for float32.
    centroid_outlier_quantile
        Share of a category's cells that its centroids are made of.
    continuous, categorical
        The columns, encoded with `quantization` bits; their payloads are not read.

    Returns
    -------
    dict
        The content of ``obs_manifest.json``.
    """
    numbers = [_ranged([field.key], field.lo, field.hi, quantization) for field in continuous]
    groups = [_categorical_entry(field, quantization) for field in categorical]
    schemas = {}
    if numbers:
        pattern = names.obs_values_pattern(quantization, bool(compression))
        schemas["continuous"] = _values_schema(pattern, quantization)
    if groups:
        schemas["categorical"] = _categorical_schema(quantization, bool(compression))
    return {
        "_format": FORMAT,
        "n_points": int(n_cells),
        "centroid_outlier_quantile": float(centroid_outlier_quantile),
        "latent_key": "latent_space",
        "compression": compression or None,
        "_obsSchemas": schemas,
        "_continuousFields": numbers,
        "_categoricalFields": groups,
    }


def identity(
    *,
    dataset_id: str,
    name: str,
    created_at: str,
    version: str,
    n_cells: int,
    n_genes: int,
    compression: int | None,
    var_quantization: int | None,
    obs_continuous_quantization: int | None,
    obs_categorical_dtype: str,
    normalize: str | None = None,
    description: str | None = None,
    dimensions: Iterable[int] = (),
    obs: Json | None = None,
    n_edges: int | None = None,
    source_name: str | None = None,
    source_url: str | None = None,
    source_citation: str | None = None,
    vector_fields: Mapping[str, Iterable[int]] | None = None,
) -> Json:
    """Describe a data set as a whole.

    Parameters
    ----------
    dataset_id, name, description
        What the data set is called.
    created_at
        UTC time stamp, ending in ``Z``.
    version
        The version of the exporter.
    n_cells, n_genes
        How many cells and genes the export holds.
    compression, var_quantization, obs_continuous_quantization, obs_categorical_dtype
        The settings of the export.
    normalize
        How expression was normalized on the way; None for as it was.
    dimensions
        Which embeddings it holds, of 1, 2 and 3; none in an export of genes alone.
    obs
        What `obs_manifest` returned, if there is one.
    n_edges
        Edges of the neighbor graph; None without one.
    source_name, source_url, source_citation
        Where the data come from.
    vector_fields
        Dimensions of every vector field, by its id.

    Returns
    -------
    dict
        The content of ``dataset_identity.json``.
    """
    columns = _obs_fields(obs)
    n_categorical = sum(column["kind"] == "category" for column in columns)
    document: Json = {
        "version": IDENTITY_VERSION,
        "id": dataset_id,
        "name": name,
        "description": description or "",
        "created_at": created_at,
        "cellucid_data_version": version,
        "stats": {
            "n_cells": int(n_cells),
            "n_genes": int(n_genes),
            "n_obs_fields": len(columns),
            "n_categorical_fields": n_categorical,
            "n_continuous_fields": len(columns) - n_categorical,
            "has_connectivity": n_edges is not None,
            "n_edges": None if n_edges is None else int(n_edges),
        },
    }
    if available := sorted(dimensions):
        files = {f"{d}d": names.points_path(d, bool(compression)) for d in available}
        document["embeddings"] = _dimensions(available, files)
    document["obs_fields"] = columns
    document["export_settings"] = {
        "compression": compression or None,
        "var_quantization": var_quantization,
        "obs_continuous_quantization": obs_continuous_quantization,
        "obs_categorical_dtype": obs_categorical_dtype,
    }
    if normalize is not None:
        document["export_settings"]["normalize"] = normalize
    given = {"name": source_name, "url": source_url, "citation": source_citation}
    if source := {key: value for key, value in given.items() if value}:
        document["source"] = source
    if vector_fields:
        document["vector_fields"] = _vector_fields(vector_fields, bool(compression))
    return document


def _values_schema(pattern: str, bits: int | None) -> Json:
    schema: Json = {
        "pathPattern": pattern,
        "ext": names.extension(bits),
        "dtype": _DTYPE[bits],
        "quantized": bits is not None,
    }
    if bits is not None:
        schema["quantizationBits"] = bits
    return schema


def _categorical_schema(bits: int | None, compressed: bool) -> Json:
    return {
        "codesPathPattern": names.obs_codes_pattern(compressed),
        "outlierPathPattern": names.obs_outliers_pattern(bits, compressed),
        "outlierExt": names.extension(bits),
        "outlierDtype": _DTYPE[bits],
        "outlierQuantized": bits is not None,
    }


def _ranged(entry: list[Any], lo: float, hi: float, bits: int | None) -> list[Any]:
    return entry if bits is None else [*entry, float(lo), float(hi)]


def _categorical_entry(field: Categorical, bits: int | None) -> list[Any]:
    centroids = {str(d): field.centroids_by_dim[d] for d in sorted(field.centroids_by_dim)}
    entry = [field.key, field.categories, field.codes_dtype, int(field.missing), centroids]
    return _ranged(entry, field.lo, field.hi, bits)


def _obs_fields(obs: Json | None) -> list[Json]:
    if obs is None:
        return []
    continuous = [{"key": entry[0], "kind": "continuous"} for entry in obs["_continuousFields"]]
    categorical = [
        {"key": entry[0], "kind": "category", "n_categories": len(entry[1])}
        for entry in obs["_categoricalFields"]
    ]
    return continuous + categorical


def _dimensions(available: list[int], files: dict[str, str]) -> Json:
    highest = available[-1]
    return {"available_dimensions": available, "default_dimension": highest, "files": files}


def _vector_fields(fields: Mapping[str, Iterable[int]], compressed: bool) -> Json:
    described = {}
    for field in sorted(fields):
        available = sorted(fields[field])
        files = {f"{d}d": names.vectors_path(field, d, compressed) for d in available}
        described[field] = {"label": _label(field), **_dimensions(available, files)}
        if field.endswith("_umap"):
            described[field]["basis"] = "umap"
    default = "velocity_umap" if "velocity_umap" in described else min(described)
    return {"default_field": default, "fields": described}


def _label(field: str) -> str:
    words = field.removesuffix("_umap").replace("_", " ")
    label = words[:1].upper() + words[1:]
    return f"{label} (UMAP)" if field.endswith("_umap") else label


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
