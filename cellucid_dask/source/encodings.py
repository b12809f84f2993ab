"""Reading an element of a file whole, by the encoding that its attributes name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def read_element(element: Any) -> Any:
    """Read an element as anndata's `read_elem` does.

    Nearly all columns and embeddings are in one of four encodings. These are read here, since
    importing anndata takes longer than exporting a small atlas; anndata reads all others.

    Parameters
    ----------
    element
        An array or group of h5py or Zarr.
    """
    attributes = element.attrs
    match attributes.get("encoding-type"), attributes.get("encoding-version"):
        case "array", "0.2.0":
            return element[()]
        case "string-array", "0.2.0":
            return (element.asstr() if hasattr(element, "asstr") else element)[()]
        case "nullable-string-array", "0.1.0":  # with pandas 3, any text of anndata
            missing = np.nan if attributes.get("na-value") == "NaN" else pd.NA
            values = read_element(element["values"]).astype(object)
            values[read_element(element["mask"])] = missing
            return pd.array(values, dtype=pd.StringDtype(na_value=missing))
        case "categorical", "0.2.0":
            return pd.Categorical.from_codes(
                codes=read_element(element["codes"]),
                categories=read_element(element["categories"]),
                ordered=bool(attributes["ordered"]),
            )
    from anndata.io import read_elem  # noqa: PLC0415

    return read_elem(element)
