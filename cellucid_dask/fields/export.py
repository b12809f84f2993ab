"""Points, vectors and obs of a request -> files in memory and what the manifests say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.errors import RequestError
from cellucid_dask.fields.categories import is_id_like
from cellucid_dask.fields.embeddings import Embedding
from cellucid_dask.fields.obs import (
    CategoricalField,
    ContinuousField,
    categorical,
    continuous,
    is_categorical,
)
from cellucid_dask.fields.points import normalise
from cellucid_dask.fields.vectors import scale_vectors
from cellucid_dask.format import names
from cellucid_dask.genes.encode import encode
from cellucid_dask.request import Request
from cellucid_dask.source import Source


@dataclass(frozen=True)
class Fields:
    """What an export holds beside genes.

    Attributes
    ----------
    payloads
        The encoded files by name, until they are written.
    files
        Their sizes, which stay.
    obs
        What the manifest says of each column; the arrays themselves are gone.
    dimensions
        Of the embeddings.
    vectors
        Dimensions of every vector field, by its name.
    warnings
        What was chosen, and what to know.
    """

    payloads: dict[str, bytes]
    files: dict[str, int]
    obs: list[ContinuousField | CategoricalField]
    dimensions: tuple[int, ...]
    vectors: dict[str, list[int]]
    warnings: tuple[str, ...]


def export_fields(request: Request) -> Fields:
    """Read, check and encode points, vectors and obs, one at a time.

    Raises
    ------
    RequestError
        A column, an embedding or a vector field cannot be exported.
    """
    if request.settings.genes_only:
        return Fields({}, {}, [], (), {}, ())
    level = request.settings.compression
    compressed = level is not None
    files: dict[str, bytes] = {}
    points, scales = {}, {}
    for dimension, embedding in request.embeddings.items():
        coordinates = _coordinates(request.source, embedding)
        points[dimension], scales[dimension] = normalise(coordinates, embedding.key)
        files[names.points_path(dimension, compressed)] = encode(points[dimension], level)
    vectors: dict[str, list[int]] = {}
    for each in request.vectors:
        values = scale_vectors(
            request.source.obsm(each.key), scales[each.dimension], request.source.n_cells, each.key
        )
        files[names.vectors_path(each.field, each.dimension, compressed)] = encode(values, level)
        vectors.setdefault(each.field, []).append(each.dimension)
    latent = _latent(request)
    columns = []
    left_out = []
    for key in request.obs_keys:
        given = request.source.obs(key)
        if request.settings.obs_keys is None and is_categorical(given) and is_id_like(given):
            left_out.append(key)
            continue
        column = _encode_column(request, key, given, points, latent)
        for name, values in _payloads(column, compressed):
            files[name] = encode(values, level)
        columns.append(column.without_payload())
    told = []
    if left_out:
        told.append(
            f"obs columns {', '.join(left_out)} hold a value for nearly every cell and are left "
            "out: name what you want to show with --obs-keys."
        )
    if latent is None and any(isinstance(column, CategoricalField) for column in columns):
        told.append(
            "There is no latent space in obsm: outliers are measured in the "
            f"{max(points)}D embedding instead. Name one with --latent."
        )
    sizes = {name: len(data) for name, data in files.items()}
    return Fields(files, sizes, columns, tuple(points), vectors, tuple(told))


def _coordinates(source: Source, embedding: Embedding) -> Any:
    values = source.obsm(embedding.key)
    if values.shape[0] != source.n_cells:
        raise RequestError(
            f"Embedding {embedding.key!r} has {values.shape[0]:,} rows, but there are "
            f"{source.n_cells:,} cells."
        )
    return values[:, list(embedding.columns)]


def _latent(request: Request) -> Any:
    if request.latent is None:
        return None
    return np.asarray(request.source.obsm(request.latent), dtype=np.float32)


def _encode_column(
    request: Request, key: str, column: Any, points: dict[int, Any], latent: Any
) -> ContinuousField | CategoricalField:
    settings = request.settings
    if not is_categorical(column):
        return continuous(key, column, settings.obs_continuous_quantization)
    return categorical(
        key,
        column,
        points=points,
        latent=latent,
        dtype=settings.obs_categorical_dtype,
        bits=settings.obs_continuous_quantization,
        outlier_quantile=settings.centroid_outlier_quantile,
        min_points=settings.centroid_min_points,
    )


def _payloads(
    column: ContinuousField | CategoricalField, compressed: bool
) -> list[tuple[str, Any]]:
    if isinstance(column, ContinuousField):
        return [(names.obs_values_path(column.key, column.bits, compressed), column.values)]
    return [
        (names.obs_codes_path(column.key, column.codes_dtype, compressed), column.codes),
        (names.obs_outliers_path(column.key, column.outlier_bits, compressed), column.outliers),
    ]
