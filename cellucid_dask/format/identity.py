"""Building ``dataset_identity.json``, which describes a data set as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cellucid_dask.format import names
from cellucid_dask.types import Json

IDENTITY_VERSION = 2


def describe_dataset(
    about: Json,
    n_cells: int,
    n_genes: int,
    export_settings: Json,
    *,
    dimensions: Iterable[int] = (),
    obs: Json | None = None,
    n_edges: int | None = None,
    source: Json | None = None,
    vector_fields: Mapping[str, Iterable[int]] | None = None,
) -> Json:
    """Describe a data set as a whole.

    Parameters
    ----------
    about
        ``id``, ``name``, ``description``, ``created_at`` and ``cellucid_data_version``.
    n_cells, n_genes
        Number of cells and genes of the export.
    export_settings
        Among them ``compression``.
    dimensions
        Of the embeddings: of 1, 2 and 3; none in an export of genes alone.
    obs
        The result of `obs_manifest`, if there is one.
    n_edges
        Edges of the neighbor graph; None without one.
    source
        ``name``, ``url`` and ``citation`` of the original data; empty ones are left out.
    vector_fields
        Dimensions of each vector field, by its id.

    Returns
    -------
    dict
        The content of ``dataset_identity.json``.
    """
    columns = _obs_fields(obs)
    n_categorical = sum(column["kind"] == "category" for column in columns)
    compressed = bool(export_settings["compression"])
    document: Json = {
        "version": IDENTITY_VERSION,
        **about,
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
        files = {f"{d}d": names.points_path(d, compressed) for d in available}
        document["embeddings"] = _dimensions(available, files)
    document |= {"obs_fields": columns, "export_settings": export_settings}
    if given := {key: value for key, value in (source or {}).items() if value}:
        document["source"] = given
    if vector_fields:
        document["vector_fields"] = _vector_fields(vector_fields, compressed)
    return document


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
