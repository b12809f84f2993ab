"""Columns and tables as AnnData encodes them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from cellucid_dask.fields.categories import is_text
from cellucid_dask.output.cellucid_zarr.arrays import ArraySpec, Hierarchy, encoding

_BLOCK_ROWS = 2**17
_NULLABLE: Any = (pd.arrays.IntegerArray, pd.arrays.BooleanArray)
_FLOATING: Any = pd.arrays.FloatingArray


def as_stored(column: Any) -> Any:
    """Return a column as it is stored.

    Parameters
    ----------
    column
        A Series, an extension array, an ndarray, or a `TextColumn`.

    Returns
    -------
    Categorical, ndarray, IntegerArray, BooleanArray, an array of text, or None
        Text is a categorical where a value repeats or is missing, as anndata makes it; None for
        what AnnData has no encoding of.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _with_storable_categories(pd.Categorical(column))
    if types.is_datetime64_any_dtype(dtype):
        times = pd.Series(column)
        return _as_text(times.astype(str).where(times.notna(), None).array)
    if is_text(dtype):
        return _as_text(getattr(column, "array", column))
    return _as_numbers(getattr(column, "array", column))


def _as_numbers(array: Any) -> Any:
    if isinstance(array, _NULLABLE):
        return array if array.isna().any() else array.to_numpy(dtype=array.dtype.numpy_dtype)
    if isinstance(array, _FLOATING):
        array = array.to_numpy(dtype=array.dtype.numpy_dtype, na_value=np.nan)
    values = np.asarray(array)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        return None
    if values.dtype.kind == "f" and values.dtype.itemsize not in (4, 8):
        return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    return values


def _with_storable_categories(column: pd.Categorical) -> pd.Categorical:
    names = column.categories
    if not isinstance(names.dtype, np.dtype) or names.dtype.kind not in "biuf":
        return pd.Categorical.from_codes(
            column.codes, pd.Index([_text(each) for each in names], dtype=object), column.ordered
        )
    return column


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _as_text(column: Any) -> Any:
    """Return text as a categorical, or as it is if all values are there and differ."""
    codes = np.empty(len(column), np.int32)
    numbers: dict[str, int] = {}
    for start in range(0, len(column), _BLOCK_ROWS):
        values = np.asarray(column[start : start + _BLOCK_ROWS], dtype=object)
        present = ~pd.isna(values)
        codes[start : start + len(values)][~present] = -1
        codes[start : start + len(values)][present] = [
            numbers.setdefault(_text(each), len(numbers)) for each in values[present]
        ]
    if len(numbers) == len(column):
        return np.fromiter(numbers, object, len(numbers))
    names = sorted(numbers)
    table = np.empty(len(names) + 1, np.int32)
    table[[numbers[name] for name in names]] = np.arange(len(names))
    table[-1] = -1
    return pd.Categorical.from_codes(table[codes], pd.Index(names, dtype=object))


def _write_column(store: Hierarchy, path: str, column: Any) -> None:
    if isinstance(column, pd.Categorical):
        store.group(path, encoding("categorical") | {"ordered": bool(column.ordered)})
        _write_array(store, f"{path}/codes", column.codes)
        _write_array(store, f"{path}/categories", column.categories.to_numpy())
    elif isinstance(column, _NULLABLE):
        kind = "integer" if isinstance(column, pd.arrays.IntegerArray) else "boolean"
        store.group(path, encoding(f"nullable-{kind}", "0.1.0"))
        values = column.to_numpy(dtype=column.dtype.numpy_dtype, na_value=0)
        _write_array(store, f"{path}/values", values)
        _write_array(store, f"{path}/mask", np.asarray(column.isna()))
    else:
        _write_array(store, path, column)


def _write_array(store: Hierarchy, path: str, values: Any) -> None:
    kind = "string-array" if values.dtype == object else "array"
    store.values(ArraySpec.vector(path, len(values), values.dtype), values, encoding(kind))


def write_table(
    store: Hierarchy, path: str, index: Sequence[str], columns: Iterable[tuple[str, Any]]
) -> None:
    """Add a table to a store; its columns are as `as_stored` returns them."""
    _write_array(store, f"{path}/_index", np.asarray(index, dtype=object))
    order = []
    for name, column in columns:
        _write_column(store, f"{path}/{name}", column)
        order.append(name)
    store.group(path, encoding("dataframe") | {"_index": "_index", "column-order": order})
