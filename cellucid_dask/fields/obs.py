"""Cell metadata, a column at a time, as the arrays and facts an export holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from cellucid_dask.encode.quantize import as_float32, finite_range, quantize
from cellucid_dask.errors import RequestError
from cellucid_dask.fields.categories import Codes, encode_categories, is_text
from cellucid_dask.fields.centroids import Centroid, centroids, outlier_quantiles
from cellucid_dask.fields.groups import Groups

Payload = npt.NDArray[Any]


@dataclass(frozen=True)
class ContinuousField:
    """A column of numbers.

    Attributes
    ----------
    key
        Name of the column.
    values
        float32, or codes of `bits` bits.
    bits
        8, 16, or None for float32.
    lo, hi
        Smallest and largest finite value.
    """

    key: str
    values: Payload
    bits: int | None
    lo: float
    hi: float

    def without_payload(self) -> ContinuousField:
        """Return what a manifest needs, for the values to be freed."""
        return replace(self, values=self.values[:0].copy())


@dataclass(frozen=True)
class CategoricalField:
    """A column of categories.

    Attributes
    ----------
    key
        Name of the column.
    categories
        Names of the categories, in the order of their codes.
    codes
        uint8 or uint16, the category of every cell.
    missing
        The code of a cell without one.
    centroids_by_dim
        By dimension: where the categories lie.
    outliers
        Outlier quantile of every cell: float32, or codes of `outlier_bits` bits.
    outlier_bits
        8, 16, or None for float32.
    lo, hi
        Smallest and largest outlier quantile.
    """

    key: str
    categories: list[str]
    codes: Codes
    missing: int
    centroids_by_dim: dict[int, list[Centroid]]
    outliers: Payload
    outlier_bits: int | None
    lo: float
    hi: float

    @property
    def codes_dtype(self) -> str:
        """``"uint8"`` or ``"uint16"``."""
        return self.codes.dtype.name

    def without_payload(self) -> CategoricalField:
        """Return what a manifest needs, for the arrays to be freed."""
        return replace(self, codes=self.codes[:0].copy(), outliers=self.outliers[:0].copy())


def is_categorical(column: Any) -> bool:
    """Tell columns of categories from columns of numbers.

    Parameters
    ----------
    column
        A Series, an extension array or an ndarray.

    Returns
    -------
    bool
        True for category, bool, string, object and datetime columns; columns of no
        known kind are False, and `continuous` refuses them.
    """
    dtype = column.dtype
    return (
        isinstance(dtype, pd.CategoricalDtype)
        or is_text(dtype)
        or types.is_bool_dtype(dtype)
        or types.is_datetime64_any_dtype(dtype)
    )


def is_continuous(column: Any) -> bool:
    """Tell columns of real numbers from those of no known kind: complex, timedelta, period."""
    dtype = column.dtype
    real = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    return bool(real and column.ndim == 1)


def continuous(key: str, column: Any, bits: int | None) -> ContinuousField:
    """Encode a column of numbers.

    Parameters
    ----------
    key
        Name of the column.
    column
        A Series, an extension array or an ndarray.
    bits
        8, 16, or None for float32.

    Returns
    -------
    ContinuousField
        The column.

    Raises
    ------
    RequestError
        If the column does not hold real numbers.
    """
    values = _numbers(key, column)
    if bits is None:
        return ContinuousField(key, values, bits, *finite_range(values))
    codes, lo, hi = quantize(values, bits)
    return ContinuousField(key, codes, bits, lo, hi)


def categorical(
    key: str,
    column: Any,
    *,
    points: Mapping[int, npt.NDArray[np.float32]],
    latent: npt.NDArray[Any] | None,
    dtype: str,
    bits: int | None,
    outlier_quantile: float,
    min_points: int,
) -> CategoricalField:
    """Encode a column of categories, and find where they lie.

    Parameters
    ----------
    key
        Name of the column.
    column
        A Series, an extension array, an ndarray, or its `Factors`.
    points
        Normalized coordinates of the cells by dimension.
    latent
        The space to measure outliers in; None for the widest of `points`.
    dtype
        Of the codes: ``"auto"``, ``"uint8"`` or ``"uint16"``.
    bits
        Of the outlier quantiles: 8, 16, or None for float32.
    outlier_quantile
        Share of a category's cells that its centroids are made of.
    min_points
        How many cells a category needs for centroids and outlier quantiles.

    Returns
    -------
    CategoricalField
        The column.

    Raises
    ------
    RequestError
        If there are too many categories, or the latent space is not finite.
    """
    categories, codes, missing = encode_categories(key, column, dtype)
    groups = Groups.of(codes, len(categories))
    placed = {
        dimension: centroids(points[dimension], groups, categories, outlier_quantile, min_points)
        for dimension in sorted(points)
    }
    outliers: Payload = outlier_quantiles(latent, points, groups, min_points)
    lo, hi = finite_range(outliers)
    if bits is not None:
        outliers, lo, hi = quantize(outliers, bits)
    return CategoricalField(key, categories, codes, missing, placed, outliers, bits, lo, hi)


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
