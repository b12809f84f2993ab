"""Exporting points, vector fields and cell metadata: files, and entries of the manifests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellucid_dask.encode.compress import compress, compress_text
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.fields.categories import Factors, factorize, is_id_like, is_text
from cellucid_dask.fields.obs import (
    EncodedColumn,
    encode_categorical,
    encode_continuous,
    is_categorical,
    is_continuous,
)
from cellucid_dask.fields.points import normalize
from cellucid_dask.fields.vector_fields import scale_vector_field
from cellucid_dask.format import names
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.request.resolve import Request
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.progress import follow
from cellucid_dask.source.base import Source
from cellucid_dask.source.claims import check_rows
from cellucid_dask.source.matrix import Sliceable
from cellucid_dask.source.reading import UnreadableError

_BLOCK_ROWS = 2**17
_MAX_LATENT_BYTES = 2**28  # a larger latent space is read again for each column


@dataclass(frozen=True)
class Fields:
    """What an export contains beside genes.

    Attributes
    ----------
    files
        Digests of the encoded files, by name.
    continuous, categorical
        Entries of the columns in the manifest.
    dimensions
        Of the embeddings.
    vectors
        Dimensions of each vector field, by its name.
    warnings
        What the user should know.
    """

    files: dict[str, FileDigest]
    continuous: list[list[Any]]
    categorical: list[list[Any]]
    dimensions: tuple[int, ...]
    vectors: dict[str, list[int]]
    warnings: tuple[str, ...]


def export_fields(
    request: Request,
    keep: Callable[[str, bytes], FileDigest],
    *,
    block_rows: int = _BLOCK_ROWS,
    max_latent_bytes: int = _MAX_LATENT_BYTES,
) -> Fields:
    """Read, check and encode points, vector fields and obs, one at a time.

    Parameters
    ----------
    request
        What to export.
    keep
        Receives the name and content of each file as soon as it is encoded, and returns its
        digest. A later one may still be refused.
    block_rows
        Rows of a stored array or of a text column that are read at a time.
    max_latent_bytes
        Size up to which the latent space is kept in memory; otherwise it is read again for
        each column.

    Raises
    ------
    RequestError
        A column, an embedding or a vector field cannot be exported.
    """
    fields = Fields({}, [], [], tuple(request.embeddings), {}, ())
    settings, source = request.settings, request.source
    if settings.genes_only:
        return fields
    level = settings.compression
    compressed = level is not None

    def add(name: str, values: Any) -> None:
        put(name, bytes(compress(values, level)))

    def put(name: str, data: bytes) -> None:
        fields.files[name] = keep(name, data)

    points, scales = {}, {}
    for dimension, embedding in request.embeddings.items():
        points[dimension], scales[dimension] = normalize(
            _read(_obsm(source, embedding.key), block_rows, embedding.columns), embedding.key
        )
        add(names.points_path(dimension, compressed), points[dimension])
    for each in request.vector_fields:
        values = scale_vector_field(
            _read(_obsm(source, each.key), block_rows),
            scales[each.dimension],
            each.key,
        )
        add(names.vectors_path(each.field, each.dimension, compressed), values)
        fields.vectors.setdefault(each.field, []).append(each.dimension)
    for name, data in _cell_ids(request):
        put(name, data)
    latent = _latent(request, block_rows, max_latent_bytes)
    id_like: list[str] = []
    unknown: list[str] = []
    unreadable: list[str] = []
    for key, column in _columns(request, block_rows, id_like, unknown, unreadable):
        entry, arrays = _encode_column(settings, key, column, points, latent)
        (fields.categorical if isinstance(column, Factors) else fields.continuous).append(entry)
        for name, values in arrays.items():
            add(name, values)
    warnings = [*_warnings(id_like, unknown), *unreadable]
    if latent is None and fields.categorical:
        warnings.append(
            "There is no latent space in obsm: outlier quantiles are computed in the "
            f"{max(points)}D embedding instead. Set one with --latent."
        )
    return replace(fields, warnings=tuple(warnings))


def _warnings(id_like: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """Return warnings about columns that are left out."""
    warnings = []
    if id_like:
        warnings.append(
            f"obs columns {', '.join(id_like)} have a different value for nearly every "
            "cell and are skipped: select columns with --obs-keys."
        )
    if unknown:
        warnings.append(
            f"obs columns {', '.join(unknown)} are of a kind that the viewer cannot "
            "show and are skipped: convert them to numbers or strings."
        )
    return warnings


def _cell_ids(request: Request) -> Iterator[tuple[str, bytes]]:
    """Encode the names of the cells, if they are asked for."""
    if request.settings.cell_ids:
        ids = list(request.source.cell_ids())
        check_rows("The index of obs", len(ids), request.source.n_cells)
        text = json.dumps(ids, ensure_ascii=False)
        level = request.settings.compression
        yield names.cell_ids_path(level is not None), compress_text(text.encode(), level)


def _columns(
    request: Request,
    block_rows: int,
    id_like: list[str],
    unknown: list[str],
    unreadable: list[str],
) -> Iterator[tuple[str, Any]]:
    """Read the columns of obs, categorical ones as `Factors`.

    Columns that the user did not name may be left out; they are added to `id_like` or `unknown`,
    and what is wrong with those that cannot be read to `unreadable`.
    """
    named = request.settings.obs_keys is not None
    with follow("reading cell metadata", len(request.obs_keys), "columns") as progress:
        for key in progress.count(request.obs_keys):
            try:
                column = request.source.obs(key)
                check_rows(f"The obs column {key!r}", len(column), request.source.n_cells)
                text = is_text(column.dtype)
                if is_categorical(column):
                    column = factorize(column, block_rows)
            except UnreadableError as error:
                if named:
                    raise
                unreadable.append(f"{str(error).rstrip('.')}. It is skipped.")
                continue
            if isinstance(column, Factors):
                if named or not is_id_like(column, text=text):
                    yield key, column
                else:
                    id_like.append(key)
            elif named or is_continuous(column):
                yield key, column
            else:
                unknown.append(f"{key} ({column.dtype})")


def _encode_column(
    settings: Settings, key: str, column: Any, points: dict[int, Any], latent: Any
) -> EncodedColumn:
    bits, compressed = settings.obs_continuous_quantization, settings.compression is not None
    if not isinstance(column, Factors):
        return encode_continuous(key, column, bits, compressed)
    return encode_categorical(
        key,
        column,
        points=points,
        latent=latent,
        dtype=settings.obs_categorical_dtype,
        bits=bits,
        compressed=compressed,
        outlier_quantile=settings.centroid_outlier_quantile,
        min_points=settings.centroid_min_points,
    )


def _obsm(source: Source, key: str) -> Any:
    values = source.obsm(key)
    check_rows(f"The obsm array {key!r}", values.shape[0], source.n_cells)
    return values


@dataclass(frozen=True)
class _Float32:
    """A view of an array whose rows are read as float32."""

    array: Sliceable

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        return as_float32(self.array[rows])


def _latent(request: Request, block_rows: int, max_bytes: int) -> Any:
    """Open the latent space, whose rows are read twice for each categorical column."""
    if request.latent is None:
        return None
    values = _obsm(request.source, request.latent)
    latent = _Float32(values)
    if isinstance(values, np.ndarray) or np.prod(latent.shape) * 4 > max_bytes:
        return latent
    return _read(latent, block_rows, dtype="<f4")


def _read(
    values: Any, block_rows: int, columns: Sequence[int] | None = None, dtype: Any = None
) -> np.ndarray[Any, Any]:
    """Read an array, or some of its columns, in blocks of rows."""
    n_rows, width = values.shape
    chosen = list(range(width) if columns is None else columns)
    if isinstance(values, np.ndarray):
        return values[:, chosen]
    out = np.empty((n_rows, len(chosen)), values.dtype if dtype is None else dtype)
    for start in range(0, n_rows, block_rows):
        rows = slice(start, min(start + block_rows, n_rows))
        out[rows] = np.asarray(values[rows])[:, chosen]
    return out
