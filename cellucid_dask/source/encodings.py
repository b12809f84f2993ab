"""Reading an element of a file whole, by the encoding that its attributes name."""

from __future__ import annotations

from typing import Any

import pandas as pd


def read_element(element: Any) -> Any:
    """Read an element as anndata's `read_elem` does.

    Nearly all columns and embeddings are in one of three encodings. These are read here, since
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
        case "string-array", "0.2.0" if hasattr(element, "asstr"):  # of h5py
            return element.asstr()[()]
        case "categorical", "0.2.0":
            return pd.Categorical.from_codes(
                codes=read_element(element["codes"]),
                categories=read_element(element["categories"]),
                ordered=bool(attributes["ordered"]),
            )
    from anndata.io import read_elem  # noqa: PLC0415

    return read_elem(element)
