"""Turning a column of cell metadata into category names and a code per cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from cellucid_dask.encode.quantize import CODE_DTYPE, MISSING_CODE
from cellucid_dask.errors import RequestError

# A column with no more categories than this is never taken for one of identifiers.
_MAX_SMALL = 1000
# Nor is text, if there are no more cells than this.
_FEW = 20
_BITS = {"uint8": 8, "uint16": 16}
_MAX_CATEGORIES = MISSING_CODE[16] - 1
_BLOCK_ROWS = 2**17

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Factors:
    """A column of categories: their names, and a number per cell.

    Attributes
    ----------
    categories
        Names in order; empty when there are too many to be exported.
    positions
        Category of each cell as an index into `categories`, -1 for none; (n_cells,).
    n_categories
        Number of categories.
    is_complete
        False if there were too many before the end of the column, and the rest was not read.
    """

    categories: list[str]
    positions: npt.NDArray[np.signedinteger[Any]]
    n_categories: int
    is_complete: bool = True


def encode_categories(key: str, column: Any, dtype: str) -> tuple[list[str], Codes, int]:
    """Return the categories of a column and the code of each cell.

    Parameters
    ----------
    key
        Name of the column, for error messages.
    column
        Factors, or a column to be factorized.
    dtype
        ``"auto"``, ``"uint8"`` or ``"uint16"``.

    Returns
    -------
    categories
        Their names.
    codes
        uint8 or uint16, (n_cells,).
    missing
        The code of a missing value.

    Raises
    ------
    RequestError
        There are more categories than codes of that dtype can represent.
    """
    factors = column if isinstance(column, Factors) else factorize(column)
    bits = _bits(key, factors, dtype)
    missing = MISSING_CODE[bits]
    # Position -1, a missing value, selects the last entry.
    table = np.array([*range(factors.n_categories), missing], dtype=CODE_DTYPE[bits])
    return factors.categories, table[factors.positions], missing


def factorize(column: Any, block_rows: int = _BLOCK_ROWS) -> Factors:
    """Find the distinct values of a column and number the cells by them.

    Parameters
    ----------
    column
        A Series, an extension array, an ndarray, or a `TextColumn`.
    block_rows
        Rows of a text column that are Python objects at the same time.

    Returns
    -------
    Factors
        The categories of a categorical in its own order, other values sorted as text.
    """
    if is_text(column.dtype):
        return _factorize_text(getattr(column, "array", column), block_rows)
    has_order = isinstance(column.dtype, pd.CategoricalDtype)
    if has_order:
        array = getattr(column, "array", column)
        positions, distinct = array.codes, array.categories
    else:
        positions, distinct = pd.factorize(column)
    if len(distinct) > _MAX_CATEGORIES:
        return Factors([], positions, len(distinct))
    labels = _labels(pd.Index(distinct))
    return _numbered(positions, labels, list(dict.fromkeys(labels)) if has_order else None)


def is_id_like(factors: Factors, *, text: bool = False) -> bool:
    """Whether a column identifies cells rather than groups of them.

    Parameters
    ----------
    factors
        The column.
    text
        Whether it was stored as text, not as categories.

    Returns
    -------
    bool
        True for more values than can be exported as categories, for more than 1,000 that
        are also more than half as many as the cells, and for text that differs in each of more
        than 20 cells.
    """
    n_distinct = factors.n_categories
    if text and n_distinct == len(factors.positions) > _FEW:
        return True
    return n_distinct > _MAX_CATEGORIES or n_distinct > max(_MAX_SMALL, len(factors.positions) / 2)


def is_text(dtype: Any) -> bool:
    """Whether a column of this dtype contains strings, or any Python objects."""
    return bool(types.is_object_dtype(dtype) or types.is_string_dtype(dtype) or dtype.kind == "T")


def _factorize_text(column: Any, block_rows: int) -> Factors:
    # Not with pandas, for which 1, 1.0 and True are equal, and strings end at a NUL.
    positions = np.full(len(column), -1, dtype=np.int32)
    numbers: dict[str, int] = {}
    for start in range(0, len(column), block_rows):
        rows = slice(start, min(start + block_rows, len(column)))
        values = np.asarray(column[rows], dtype=object)
        present = ~pd.isna(values)
        given = values[present].tolist()
        if types.infer_dtype(given, skipna=False) not in ("string", "bytes"):
            given = list(map(_text, given))
        known = {
            each: numbers.setdefault(_text(each), len(numbers)) for each in dict.fromkeys(given)
        }
        positions[rows][present] = np.fromiter(map(known.__getitem__, given), np.int32, len(given))
        if len(numbers) > _MAX_CATEGORIES:
            is_complete = rows.stop == len(column)
            return Factors([], positions, len(numbers), is_complete)
    return _numbered(positions, list(numbers), None)


def _numbered(
    positions: npt.NDArray[Any], labels: list[str], categories: list[str] | None
) -> Factors:
    """Renumber cells from `labels` to `categories`, by default the sorted labels."""
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
    """Return the width of the codes: the narrowest that is allowed and sufficient."""
    narrow, n_categories = MISSING_CODE[8] - 1, factors.n_categories
    if n_categories > _MAX_CATEGORIES:
        at_least = "" if factors.is_complete else "at least "
        raise RequestError(
            f"obs column {key!r} has {at_least}{n_categories:,} categories, more than the "
            f"{_MAX_CATEGORIES:,} that the format holds: leave it out of obs_keys or group its "
            "values"
        )
    if dtype == "auto":
        return 8 if n_categories <= narrow else 16
    if dtype == "uint8" and n_categories > narrow:
        raise RequestError(
            f"obs column {key!r} has {n_categories:,} categories, more than the {narrow} that "
            "uint8 codes hold: choose obs_categorical_dtype='auto' or leave it out of obs_keys"
        )
    return _BITS[dtype]
