"""Tables of AnnData before 0.7: one compound array, with categories kept in uns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def is_table(element: Any) -> bool:
    """Whether an element is a compound array."""
    return getattr(getattr(element, "dtype", None), "names", None) is not None


def read_table(element: Any, uns: Any) -> pd.DataFrame:
    """Read a compound array; its first field, or the one called index, names the rows."""
    records = element[:]
    names = records.dtype.names
    index = next((name for name in ("index", "_index") if name in names), names[0])
    columns = {
        name: _column(records[name], _categories(uns, name)) for name in names if name != index
    }
    return pd.DataFrame(columns, index=pd.Index(_text(records[index])))


def _column(values: np.ndarray[Any, Any], categories: Any) -> Any:
    if categories is not None and values.dtype.kind in "iu":
        return pd.Categorical.from_codes(values.astype(np.int64), categories=categories)
    return _text(values)


def _categories(uns: Any, name: str) -> Any:
    key = f"{name}_categories"
    if key not in uns:
        return None
    values = np.atleast_1d(np.asarray(uns[key][()] if hasattr(uns[key], "shape") else uns[key]))
    return None if values.dtype.names else pd.Index(_text(values)).drop_duplicates()


def _text(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8").astype(object)
    if values.dtype.kind == "O":
        decoded = [each.decode() if isinstance(each, bytes) else each for each in values]
        return np.array(decoded, dtype=object)
    return values
