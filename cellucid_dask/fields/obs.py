"""Encoding the columns of cell metadata, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from cellucid_dask.encode.genes import quantize
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError
from cellucid_dask.fields.categories import encode_categories, is_text
from cellucid_dask.fields.centroids import centroids, outlier_quantiles
from cellucid_dask.fields.groups import Groups
from cellucid_dask.format import manifests, names
from cellucid_dask.types import Array

# The entry of a column in the manifest, and the values of its files by path.
EncodedColumn = tuple[list[Any], dict[str, Array]]


def is_categorical(column: Any) -> bool:
    """Whether a column is exported as categories.

    Parameters
    ----------
    column
        A Series, an extension array or an ndarray.

    Returns
    -------
    bool
        True for category, bool, string, object and datetime columns; False for others, of
        which `encode_continuous` accepts those that `is_continuous` does.
    """
    dtype = column.dtype
    return (
        isinstance(dtype, pd.CategoricalDtype)
        or is_text(dtype)
        or types.is_bool_dtype(dtype)
        or types.is_datetime64_any_dtype(dtype)
    )


def is_continuous(column: Any) -> bool:
    """Whether a column contains real numbers; complex, timedelta and period ones do not."""
    dtype = column.dtype
    real = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    return bool(real and column.ndim == 1)


def encode_continuous(key: str, column: Any, bits: int | None, compressed: bool) -> EncodedColumn:
    """Encode a column of numbers.

    Parameters
    ----------
    key
        Name of the column.
    column
        A Series, an extension array or an ndarray.
    bits
        8, 16, or None for float32.
    compressed
        Whether its file will be.

    Returns
    -------
    entry, files
        The column's entry in the manifest, and the values of its file by path.

    Raises
    ------
    RequestError
        The column does not contain real numbers.
    """
    values, value_range = _quantized(_numbers(key, column), bits)
    path = names.obs_values_path(key, bits, compressed)
    return manifests.number_entry(key, value_range), {path: values}


def encode_categorical(
    key: str,
    column: Any,
    *,
    points: Mapping[int, npt.NDArray[np.float32]],
    latent: npt.NDArray[Any] | None,
    dtype: str,
    bits: int | None,
    compressed: bool,
    outlier_quantile: float,
    min_points: int,
) -> EncodedColumn:
    """Encode a column of categories, with their centroids and the outlier quantiles of cells.

    Parameters
    ----------
    key
        Name of the column.
    column
        A Series, an extension array, an ndarray, or its `Factors`.
    points
        Normalized coordinates of the cells, by dimension.
    latent
        The space in which outliers are measured, (n_cells, k); None for the widest of `points`.
    dtype
        Of the codes: ``"auto"``, ``"uint8"`` or ``"uint16"``.
    bits
        Of the outlier quantiles: 8, 16, or None for float32.
    compressed
        Whether the files will be.
    outlier_quantile
        Fraction of a category's cells, the nearest ones, whose mean is its centroid.
    min_points
        Number of cells that a category needs for centroids and outlier quantiles.

    Returns
    -------
    entry, files
        The column's entry in the manifest, and the values of its two files by path.

    Raises
    ------
    RequestError
        There are too many categories, or the latent space is not finite.
    """
    categories, codes, missing = encode_categories(key, column, dtype)
    groups = Groups.of(codes, len(categories))
    by_dimension = {
        dimension: centroids(points[dimension], groups, categories, outlier_quantile, min_points)
        for dimension in points
    }
    outliers, outlier_range = _quantized(
        outlier_quantiles(latent, points, groups, min_points), bits
    )
    entry = manifests.category_entry(
        key, categories, codes.dtype.name, missing, by_dimension, outlier_range
    )
    return entry, {
        names.obs_codes_path(key, codes.dtype.name, compressed): codes,
        names.obs_outliers_path(key, bits, compressed): outliers,
    }


def _quantized(
    values: npt.NDArray[np.float32], bits: int | None
) -> tuple[Array, tuple[float, float] | None]:
    if bits is None:
        return values, None
    codes, lowest, highest = quantize(values, bits)
    return codes, (lowest, highest)


def _numbers(key: str, column: Any) -> npt.NDArray[np.float32]:
    dtype = column.dtype
    if not is_continuous(column):
        raise RequestError(
            f"obs column {key!r} has dtype {dtype}, which the viewer cannot show: convert it to "
            "numbers or strings, or leave it out of obs_keys"
        )
    if isinstance(dtype, np.dtype):
        return as_float32(column)
    array = getattr(column, "array", column)
    return as_float32(array.to_numpy(dtype=np.float64, na_value=np.nan))
