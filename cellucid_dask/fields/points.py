"""Scaling embeddings to the box that the viewer draws."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cellucid_dask.display import first_few
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import RequestError

_EXTENT = 2.0
_FLAT = 1e-8


def normalize(coordinates: Any, name: str) -> tuple[npt.NDArray[np.float32], float]:
    """Center an embedding on 0 and scale its longest axis to [-1, 1].

    Parameters
    ----------
    coordinates
        Real numbers, (n_cells, d) with d of 1 to 3, or (n_cells,).
    name
        Name of the embedding, for error messages.

    Returns
    -------
    points
        float32, (n_cells, d).
    scale
        The factor by which the coordinates were multiplied.

    Raises
    ------
    RequestError
        The coordinates are not real, finite float32 numbers of such a shape.
    """
    array = _matrix(coordinates, name)
    lowest, highest = _bounds(array, name)
    width = float((highest - lowest).max())
    scale = _EXTENT / (1.0 if width < _FLAT else width)
    points = np.empty(array.shape, dtype="<f4")
    # One axis at a time, because a float64 copy of the whole would set the peak of memory.
    for axis, center in enumerate((lowest + highest) / 2):
        points[:, axis] = (array[:, axis].astype(np.float64) - center) * scale
    return points, scale


def unfit(array: Any, block_rows: int = 2**17) -> str | None:
    """Say why an array cannot be shown or measured in, as a predicate of its name.

    Parameters
    ----------
    array
        With a dtype and a shape (n_cells, d), read by slices of rows.
    block_rows
        Rows that are read at a time.

    Returns
    -------
    str or None
        None if all values are real and finite as float32.
    """
    if array.dtype.kind not in "iuf":
        return f"holds {array.dtype}, not real numbers"
    broken: list[int] = []
    for start in range(0, array.shape[0], block_rows):
        rows = as_float32(np.asarray(array[start : start + block_rows]))
        broken += (start + np.flatnonzero(~np.isfinite(rows).all(axis=1))).tolist()
    return f"is not finite in {len(broken):,} cells (rows {first_few(broken)})" if broken else None


def _matrix(coordinates: Any, name: str) -> npt.NDArray[Any]:
    array = np.asarray(coordinates)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.dtype.kind not in "iuf":
        raise RequestError(f"embedding {name!r} must hold real numbers, not {array.dtype}")
    if array.ndim != 2 or not 1 <= array.shape[1] <= 3 or not array.shape[0]:
        shape = " x ".join(f"{n:,}" for n in array.shape)
        raise RequestError(
            f"embedding {name!r} is {shape}: it must be cells x 1, 2 or 3 dimensions"
        )
    return array


def _bounds(
    array: npt.NDArray[Any], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    finite = np.ones(array.shape[0], dtype=bool)
    for axis in range(array.shape[1]):
        finite &= np.isfinite(as_float32(array[:, axis]))
    if not finite.all():
        rows = np.flatnonzero(~finite)
        raise RequestError(
            f"embedding {name!r} has non-finite coordinates in {rows.size:,} cells "
            f"(rows {first_few(rows)}): drop those cells or compute the embedding again"
        )
    return array.min(axis=0).astype(np.float64), array.max(axis=0).astype(np.float64)
