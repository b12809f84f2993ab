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
    is_exportable,
)
from cellucid_dask.fields.payloads import Payloads
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
        The encoded files, until they are written.
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

    payloads: Payloads
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
        return Fields(Payloads(), {}, [], (), {}, ())
    level = request.settings.compression
    compressed = level is not None
    payloads = Payloads()
    points, scales = {}, {}
    for dimension, embedding in request.embeddings.items():
        coordinates = _coordinates(request.source, embedding)
        points[dimension], scales[dimension] = normalise(coordinates, embedding.key)
        payloads.add(names.points_path(dimension, compressed), encode(points[dimension], level))
    vectors: dict[str, list[int]] = {}
    for each in request.vectors:
        values = scale_vectors(
            request.source.obsm(each.key), scales[each.dimension], request.source.n_cells, each.key
        )
        name = names.vectors_path(each.field, each.dimension, compressed)
        payloads.add(name, encode(values, level))
        vectors.setdefault(each.field, []).append(each.dimension)
    latent = _latent(request)
    columns, told = _export_columns(request, points, latent, payloads)
    if latent is None and any(isinstance(column, CategoricalField) for column in columns):
        told.append(
            "There is no latent space in obsm: outliers are measured in the "
            f"{max(points)}D embedding instead. Name one with --latent."
        )
    return Fields(payloads, payloads.sizes(), columns, tuple(points), vectors, tuple(told))


def _export_columns(
    request: Request, points: dict[int, Any], latent: Any, payloads: Payloads
) -> tuple[list[ContinuousField | CategoricalField], list[str]]:
    """Encode the columns, one at a time, and say which are left out."""
    columns: list[ContinuousField | CategoricalField] = []
    compressed = request.settings.compression is not None
    left_out, unknown = [], []
    for key in request.obs_keys:
        given = request.source.obs(key)
        if request.settings.obs_keys is None:
            if not is_exportable(given):
                unknown.append(f"{key} ({given.dtype})")
                continue
            if is_categorical(given) and is_id_like(given):
                left_out.append(key)
                continue
        column = _encode_column(request, key, given, points, latent)
        for name, values in _payloads(column, compressed):
            payloads.add(name, encode(values, request.settings.compression))
        columns.append(column.without_payload())
    told = []
    if left_out:
        told.append(
            f"obs columns {', '.join(left_out)} hold a value for nearly every cell and are left "
            "out: name what you want to show with --obs-keys."
        )
    if unknown:
        told.append(
            f"obs columns {', '.join(unknown)} hold nothing the viewer can show and are left out: "
            "convert them to numbers or strings."
        )
    return columns, told


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
