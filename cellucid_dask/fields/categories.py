"""One column of cell metadata to category names and a code a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from cellucid_dask.encode.quantize import CODE_DTYPE, MISSING_CODE
from cellucid_dask.errors import RequestError

# So many categories are a choice to make, however few the cells.
_FEW = 1000
_BITS = {"uint8": 8, "uint16": 16}
_MOST = MISSING_CODE[16] - 1  # categories that codes can tell apart
_BLOCK = 2**17  # strings that are Python objects at one time

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Factors:
    """A column of categories, as numbers and their names.

    Attributes
    ----------
    categories
        Names in order; none when there are more than codes can tell apart.
    positions
        Of every cell the number of its category, -1 for none.
    n_categories
        How many there are.
    is_whole
        False where so many were found that the rest was not looked at.
    """

    categories: list[str]
    positions: npt.NDArray[np.signedinteger[Any]]
    n_categories: int
    is_whole: bool = True


def encode_categories(key: str, column: Any, dtype: str) -> tuple[list[str], Codes, int]:
    """Name the categories of a column and number its cells by them.

    Parameters
    ----------
    key
        What the column is called in an error.
    column
        Factors, or a column to be factorised.
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
    factors = column if isinstance(column, Factors) else factorise(column)
    bits = _bits(key, factors, dtype)
    missing = MISSING_CODE[bits]
    # The last entry is where pandas' own marker of a missing value, -1, points.
    table = np.array([*range(factors.n_categories), missing], dtype=CODE_DTYPE[bits])
    return factors.categories, table[factors.positions], missing


def factorise(column: Any) -> Factors:
    """Tell the values of a column apart and number them, those of text a slice at a time.

    Parameters
    ----------
    column
        A Series, an extension array, an ndarray, or a `TextColumn`.

    Returns
    -------
    Factors
        The categories of a categorical in its own order, other values sorted as text.
    """
    if is_text(column.dtype):
        return _factorise_text(getattr(column, "array", column))
    is_ordered_here = isinstance(column.dtype, pd.CategoricalDtype)
    if is_ordered_here:
        array = getattr(column, "array", column)
        positions, distinct = array.codes, array.categories
    else:
        positions, distinct = pd.factorize(column)
    if len(distinct) > _MOST:
        return Factors([], positions, len(distinct))
    labels = _labels(pd.Index(distinct))
    return _numbered(positions, labels, list(dict.fromkeys(labels)) if is_ordered_here else None)


def is_id_like(factors: Factors) -> bool:
    """Tell whether a column names cells rather than groups of them.

    Returns
    -------
    bool
        True for more values than codes can tell apart, or more than a thousand that are
        more than half as many as the cells.
    """
    n_distinct = factors.n_categories
    return n_distinct > _MOST or n_distinct > max(_FEW, len(factors.positions) / 2)


def is_text(dtype: Any) -> bool:
    """Tell whether a column of this dtype holds strings, or any Python objects."""
    return bool(types.is_object_dtype(dtype) or types.is_string_dtype(dtype) or dtype.kind == "T")


def _factorise_text(column: Any) -> Factors:
    # Not with pandas, for which 1, 1.0 and True are equal, and strings end at a NUL.
    positions = np.full(len(column), -1, dtype=np.int32)
    place: dict[str, int] = {}
    for start in range(0, len(column), _BLOCK):
        here = slice(start, min(start + _BLOCK, len(column)))
        values = np.asarray(column[here], dtype=object)
        present = ~pd.isna(values)
        given = values[present].tolist()
        if types.infer_dtype(given, skipna=False) not in ("string", "bytes"):
            given = list(map(_text, given))
        known = {each: place.setdefault(_text(each), len(place)) for each in dict.fromkeys(given)}
        found = np.fromiter(map(known.__getitem__, given), np.int32, len(given))
        positions[here][present] = found
        if len(place) > _MOST:
            return Factors([], positions, len(place), is_whole=here.stop == len(column))
    return _numbered(positions, list(place), None)


def _numbered(
    positions: npt.NDArray[Any], labels: list[str], categories: list[str] | None
) -> Factors:
    """Exchange the numbers of labels for those of categories, by default the labels sorted."""
    if categories is None:
        categories = sorted(set(labels))
    if categories != labels:
        number = {category: number for number, category in enumerate(categories)}
        positions = np.array([*map(number.__getitem__, labels), -1], np.int32)[positions]
    return Factors(categories, positions, len(categories))


def _labels(distinct: pd.Index) -> list[str]:
    if distinct.dtype != object:
        distinct = distinct.astype(str)
    return [_text(value) for value in distinct]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bits(key: str, factors: Factors, dtype: str) -> int:
    """Choose the narrowest code that is allowed and wide enough."""
    narrow, n_categories = MISSING_CODE[8] - 1, factors.n_categories
    if n_categories > _MOST:
        at_least = "" if factors.is_whole else "at least "
        raise RequestError(
            f"obs column {key!r} has {at_least}{n_categories:,} categories, more than the "
            f"{_MOST:,} that the format holds: leave it out of obs_keys or group its values"
        )
    if dtype == "auto":
        return 8 if n_categories <= narrow else 16
    if dtype == "uint8" and n_categories > narrow:
        raise RequestError(
            f"obs column {key!r} has {n_categories:,} categories, more than the {narrow} that "
            "uint8 codes hold: choose obs_categorical_dtype='auto' or leave it out of obs_keys"
        )
    return _BITS[dtype]
