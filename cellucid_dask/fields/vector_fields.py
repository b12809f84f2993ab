"""Vector fields: a displacement of every cell, drawn over an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cellucid_dask.display import first_few
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError


def scale_vector_field(
    values: Any, scale: float, n_cells: int, name: str
) -> npt.NDArray[np.float32]:
    """Bring displacements to the scale of the points they are drawn over.

    Parameters
    ----------
    values
        Real numbers, cells by dimensions.
    scale
        What the embedding was multiplied by.
    n_cells
        Rows that there must be.
    name
        What the field is called in an error.

    Returns
    -------
    numpy.ndarray
        float32, (n_cells, dimensions).

    Raises
    ------
    RequestError
        The values are not real, finite float32 numbers, one row a cell.
    """
    array = np.asarray(values)
    if array.shape[0] != n_cells:
        raise RequestError(
            f"Vector field {name!r} has {array.shape[0]:,} rows, but there are {n_cells:,} cells."
        )
    if array.dtype.kind not in "iuf":
        raise RequestError(f"Vector field {name!r} must hold real numbers, not {array.dtype}.")
    vectors = np.empty(array.shape, "<f4")
    for axis in range(array.shape[1]):  # in float64, an axis at a time: it is rounded once
        vectors[:, axis] = as_float32(array[:, axis].astype(np.float64) * scale)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise RequestError(
            f"Vector field {name!r} is not finite in {rows.size:,} cells (rows {first_few(rows)}): "
            "set it to 0 there, or compute it again."
        )
    return vectors
