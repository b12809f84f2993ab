"""Building the manifests of genes and cell metadata, and the JSON of any document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cellucid_dask.format import names
from cellucid_dask.types import Json

FORMAT = "compact_v1"

_DTYPE = {None: "float32", 8: "uint8", 16: "uint16"}


def to_json(manifest: Json, indent: int | None = None) -> bytes:
    """Return a document as strict JSON in UTF-8.

    Parameters
    ----------
    manifest
        The document; it may contain numpy scalars and arrays.
    indent
        Spaces per level; None for the compact form.

    Raises
    ------
    ValueError
        A number is NaN or infinite.
    TypeError
        A value has no JSON form.
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
    made_of: Mapping[str, str] = {},
) -> Json:
    """Describe the genes of an export.

    Parameters
    ----------
    n_cells
        Length of each vector.
    var_gene_id_column
        Column of gene names, or ``"index"``.
    compression
        gzip level 1-9, or None.
    quantization
        8, 16, or None for float32.
    fields
        Gene, lowest and highest value, in the order exported.
    made_of
        ``layer`` and ``normalize``, where they are not the defaults: other readers ignore them,
        `verify` needs them to compare values with the source.

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
        **made_of,
        "_varSchema": {"kind": "continuous", **_values_schema(pattern, quantization)},
        "fields": [
            number_entry(key, None if quantization is None else (lowest, highest))
            for key, lowest, highest in fields
        ],
    }


def obs_manifest(
    n_cells: int,
    compression: int | None,
    quantization: int | None,
    *,
    centroid_outlier_quantile: float,
    continuous: Sequence[list[Any]],
    categorical: Sequence[list[Any]],
) -> Json:
    """Describe the cell metadata of an export.

    Parameters
    ----------
    n_cells
        Length of each column.
    compression
        gzip level 1-9, or None.
    quantization
        Bits of continuous values and outlier quantiles: 8, 16, or None for float32.
    centroid_outlier_quantile
        Fraction of a category's cells, the nearest ones, whose mean is its centroid.
    continuous, categorical
        Results of `number_entry` and `category_entry`.

    Returns
    -------
    dict
        The content of ``obs_manifest.json``.
    """
    schemas = {}
    if continuous:
        pattern = names.obs_values_pattern(quantization, bool(compression))
        schemas["continuous"] = _values_schema(pattern, quantization)
    if categorical:
        schemas["categorical"] = _categorical_schema(quantization, bool(compression))
    return {
        "_format": FORMAT,
        "n_points": int(n_cells),
        "centroid_outlier_quantile": float(centroid_outlier_quantile),
        "latent_key": "latent_space",
        "compression": compression or None,
        "_obsSchemas": schemas,
        "_continuousFields": [*continuous],
        "_categoricalFields": [*categorical],
    }


def number_entry(key: str, value_range: tuple[float, float] | None) -> list[Any]:
    """Describe a gene or a continuous column.

    Parameters
    ----------
    key
        Name of the gene or column.
    value_range
        Lowest and highest value if it is quantized, else None.
    """
    return [key, *map(float, value_range or ())]


def category_entry(
    key: str,
    categories: Sequence[str],
    codes_dtype: str,
    missing: int,
    centroids: Mapping[int, list[Json]],
    outlier_range: tuple[float, float] | None,
) -> list[Any]:
    """Describe a categorical column.

    Parameters
    ----------
    key
        Name of the column.
    categories
        In the order of their codes.
    codes_dtype
        ``"uint8"`` or ``"uint16"``.
    missing
        Code of a cell without a category.
    centroids
        Centroids of the categories, by dimension of the embedding.
    outlier_range
        Lowest and highest outlier quantile if they are quantized, else None.
    """
    by_dimension = {str(d): centroids[d] for d in sorted(centroids)}
    head = [key, list(categories), codes_dtype, int(missing), by_dimension]
    return [*head, *map(float, outlier_range or ())]


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


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
