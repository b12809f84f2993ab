"""One column of cell metadata to category names and a code a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from cellucid_dask.errors import RequestError
from cellucid_dask.genes.quantise import CODE_DTYPE, MISSING_CODE

# So many categories are a choice to make, however few the cells.
_FEW = 1000
_BITS = {"uint8": 8, "uint16": 16}

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def encode(key: str, column: Any, dtype: str) -> tuple[list[str], Codes, int]:
    """Name the categories of a column and number its cells by them.

    Parameters
    ----------
    key
        What the column is called in an error.
    column
        A Series, an extension array or an ndarray.
    dtype
        ``"auto"``, ``"uint8"`` or ``"uint16"``.

    Returns
    -------
    tuple
        The categories, the code of every cell, and the code of a missing value.

    Raises
    ------
    RequestError
        If there are more categories than the codes can tell apart.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        array = getattr(column, "array", column)
        positions, labels = array.codes, _labels(array.categories)
        categories = list(dict.fromkeys(labels))
    else:
        positions, labels = _factorise(column)
        categories = sorted(set(labels))
    bits = _bits(key, len(categories), dtype)
    missing = MISSING_CODE[bits]
    code = {category: number for number, category in enumerate(categories)}
    # The last entry is where pandas' own marker of a missing value, -1, points.
    table = np.array([*map(code.__getitem__, labels), missing], dtype=CODE_DTYPE[bits])
    return categories, table[positions], missing


def is_id_like(column: Any) -> bool:
    """Tell whether a column names cells rather than groups of them.

    Parameters
    ----------
    column
        A column of categories: a Series, an extension array or an ndarray.

    Returns
    -------
    bool
        True for more values than codes can tell apart, or more than a thousand that are
        more than half as many as the cells.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        n_distinct = len(getattr(column, "array", column).categories)
    else:
        n_distinct = len(_factorise(column)[1])
    return n_distinct > MISSING_CODE[16] - 1 or n_distinct > max(_FEW, len(column) / 2)


def is_text(dtype: Any) -> bool:
    """Tell whether a column of this dtype holds strings, or any Python objects."""
    return bool(types.is_object_dtype(dtype) or types.is_string_dtype(dtype) or dtype.kind == "T")


def _factorise(column: Any) -> tuple[npt.NDArray[np.intp], list[str]]:
    if is_text(column.dtype):
        return _factorise_text(np.asarray(column, dtype=object))
    codes, distinct = pd.factorize(column)
    return codes, _labels(pd.Index(distinct))


def _factorise_text(values: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.intp], list[str]]:
    # Not with pandas, for which 1, 1.0 and True are equal, and strings end at a NUL.
    present = ~pd.isna(values)
    strings = values[present].tolist()
    if types.infer_dtype(strings, skipna=False) != "string":
        strings = list(map(_text, strings))
    place = {string: number for number, string in enumerate(dict.fromkeys(strings))}
    codes = np.full(values.size, -1, dtype=np.intp)
    codes[present] = np.fromiter(map(place.__getitem__, strings), np.intp, len(strings))
    return codes, [str(string) for string in place]


def _labels(distinct: pd.Index) -> list[str]:
    if distinct.dtype != object:
        distinct = distinct.astype(str)
    return [_text(value) for value in distinct]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bits(key: str, n_categories: int, dtype: str) -> int:
    """Choose the narrowest code that is allowed and wide enough."""
    narrow, wide = (MISSING_CODE[bits] - 1 for bits in (8, 16))
    if n_categories > wide:
        raise RequestError(
            f"obs column {key!r} has {n_categories:,} categories, more than the {wide:,} that "
            "the format holds: leave it out of obs_keys or group its values"
        )
    if dtype == "auto":
        return 8 if n_categories <= narrow else 16
    if dtype == "uint8" and n_categories > narrow:
        raise RequestError(
            f"obs column {key!r} has {n_categories:,} categories, more than the {narrow} that "
            "uint8 codes hold: choose obs_categorical_dtype='auto' or leave it out of obs_keys"
        )
    return _BITS[dtype]
