"""Points, vectors and obs of a request -> files, and what the manifests say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError
from cellucid_dask.fields.categories import Factors, factorise, is_id_like
from cellucid_dask.fields.obs import (
    CategoricalField,
    ContinuousField,
    categorical,
    continuous,
    is_categorical,
    is_continuous,
)
from cellucid_dask.fields.points import normalize
from cellucid_dask.fields.vector_fields import scale_vector_field
from cellucid_dask.format import names
from cellucid_dask.request.embeddings import Embedding
from cellucid_dask.request.resolve import Request
from cellucid_dask.source.base import Source
from cellucid_dask.source.matrix import Sliceable

_BLOCK = 2**17  # rows read at one time
_HELD = 2**28  # bytes of a latent space that is rather held than read for every column


@dataclass(frozen=True)
class Fields:
    """What an export holds beside genes.

    Attributes
    ----------
    files
        The encoded files by name, and their sizes.
    obs
        What the manifest says of each column; the arrays themselves are gone.
    dimensions
        Of the embeddings.
    vectors
        Dimensions of every vector field, by its name.
    warnings
        What was chosen, and what to know.
    """

    files: dict[str, int]
    obs: list[ContinuousField | CategoricalField]
    dimensions: tuple[int, ...]
    vectors: dict[str, list[int]]
    warnings: tuple[str, ...]


def export_fields(request: Request, keep: Callable[[str, bytes], object]) -> Fields:
    """Read, check and encode points, vectors and obs, one at a time.

    Parameters
    ----------
    request
        What to export.
    keep
        Takes each file, its name and its bytes, as soon as it is encoded. A later one may
        still be refused.

    Raises
    ------
    RequestError
        A column, an embedding or a vector field cannot be exported.
    """
    if request.settings.genes_only:
        return Fields({}, [], (), {}, ())
    level = request.settings.compression
    compressed = level is not None
    files: dict[str, int] = {}

    def add(name: str, values: Any) -> None:
        data = compress(values, level)
        keep(name, data)
        files[name] = len(data)

    points, scales = {}, {}
    for dimension, embedding in request.embeddings.items():
        points[dimension], scales[dimension] = normalize(
            _coordinates(request.source, embedding), embedding.key
        )
        add(names.points_path(dimension, compressed), points[dimension])
    vectors: dict[str, list[int]] = {}
    for each in request.vector_fields:
        values = scale_vector_field(
            _read(request.source.obsm(each.key)),
            scales[each.dimension],
            request.source.n_cells,
            each.key,
        )
        add(names.vectors_path(each.field, each.dimension, compressed), values)
        vectors.setdefault(each.field, []).append(each.dimension)
    latent = _latent(request)
    columns = []
    chosen = _Chosen(request)
    for key, given in chosen:
        column = _encode_column(request, key, given, points, latent)
        for name, values in _payloads(column, compressed):
            add(name, values)
        columns.append(column.without_payload())
    told = [*chosen.warnings()]
    if latent is None and any(isinstance(column, CategoricalField) for column in columns):
        told.append(
            "There is no latent space in obsm: outliers are measured in the "
            f"{max(points)}D embedding instead. Name one with --latent."
        )
    return Fields(files, columns, tuple(points), vectors, tuple(told))


class _Chosen:
    """The columns of obs that are exported, read one at a time, and why others are not."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._id_like: list[str] = []
        self._unknown: list[str] = []

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Walk over the columns, those of categories factorised; what was named is not left out."""
        named = self._request.settings.obs_keys is not None
        for key in self._request.obs_keys:
            column = self._request.source.obs(key)
            if is_categorical(column):
                factors = factorise(column)
                if named or not is_id_like(factors):
                    yield key, factors
                else:
                    self._id_like.append(key)
            elif named or is_continuous(column):
                yield key, column
            else:
                self._unknown.append(f"{key} ({column.dtype})")

    def warnings(self) -> Iterator[str]:
        """Say what was left out."""
        if self._id_like:
            yield (
                f"obs columns {', '.join(self._id_like)} hold a value for nearly every cell and "
                "are left out: name what you want to show with --obs-keys."
            )
        if self._unknown:
            yield (
                f"obs columns {', '.join(self._unknown)} are of a kind that the viewer cannot "
                "show and are left out: convert them to numbers or strings."
            )


def _coordinates(source: Source, embedding: Embedding) -> Any:
    values = source.obsm(embedding.key)
    if values.shape[0] != source.n_cells:
        raise RequestError(
            f"Embedding {embedding.key!r} has {values.shape[0]:,} rows, but there are "
            f"{source.n_cells:,} cells."
        )
    return _read(values, embedding.columns)


@dataclass(frozen=True)
class _Float32:
    """Rows of an array, as float32 whatever they are."""

    array: Sliceable

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        return as_float32(self.array[rows])


def _latent(request: Request) -> Any:
    """Open the latent space; every column of categories goes through its rows twice."""
    if request.latent is None:
        return None
    values = request.source.obsm(request.latent)
    latent = _Float32(values)
    is_small = np.prod(latent.shape) * 4 <= _HELD
    return _read(latent, dtype="<f4") if is_small and not isinstance(values, np.ndarray) else latent


def _read(
    values: Any, columns: Sequence[int] | None = None, dtype: Any = None
) -> np.ndarray[Any, Any]:
    """Read an array, or some of its columns, a block of rows at a time."""
    n_rows, width = values.shape
    chosen = list(range(width) if columns is None else columns)
    if isinstance(values, np.ndarray):
        return values[:, chosen]
    out = np.empty((n_rows, len(chosen)), values.dtype if dtype is None else dtype)
    for start in range(0, n_rows, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n_rows))
        out[rows] = np.asarray(values[rows])[:, chosen]
    return out


def _encode_column(
    request: Request, key: str, column: Any, points: dict[int, Any], latent: Any
) -> ContinuousField | CategoricalField:
    settings = request.settings
    if not isinstance(column, Factors):
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
