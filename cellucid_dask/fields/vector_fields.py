"""Scaling vector fields: a displacement per cell, drawn over an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cellucid_dask.display import first_few
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError


def scale_vector_field(values: Any, scale: float, name: str) -> npt.NDArray[np.float32]:
    """Scale displacements like the points of their embedding.

    Parameters
    ----------
    values
        Real numbers, (n_cells, d).
    scale
        The factor by which the embedding was multiplied.
    name
        Name of the field, for error messages.

    Returns
    -------
    numpy.ndarray
        float32, (n_cells, d).

    Raises
    ------
    RequestError
        The values are not real, finite float32 numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise RequestError(f"Vector field {name!r} must hold real numbers, not {array.dtype}.")
    vectors = np.empty(array.shape, "<f4")
    for axis in range(array.shape[1]):  # in float64, so that values are rounded once
        vectors[:, axis] = as_float32(array[:, axis].astype(np.float64) * scale)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise RequestError(
            f"Vector field {name!r} is not finite in {rows.size:,} cells (rows {first_few(rows)}): "
            "set it to 0 there, or compute it again."
        )
    return vectors
