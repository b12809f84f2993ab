"""How a vector of float32 values becomes 8- or 16-bit codes."""

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_CODE = {8: 254, 16: 65534}
MISSING_CODE = {8: 255, 16: 65535}
CODE_DTYPE = {8: "<u1", 16: "<u2"}


def as_float32(values: Any) -> npt.NDArray[np.float32]:
    """Return values as float32; those beyond its range become infinite.

    Parameters
    ----------
    values
        Real numbers, of any shape.

    Returns
    -------
    ndarray
        float32; the input itself, not a copy, if it is float32 already.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, dtype="<f4")


def finite_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest and largest finite value.

    Parameters
    ----------
    values
        float32, (n,).

    Returns
    -------
    lowest, highest
        Exact, never -0.0; both 0.0 if no value is finite.
    """
    if not values.size:
        return 0.0, 0.0
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        finite = values[np.isfinite(values)]
        if not finite.size:
            return 0.0, 0.0
        lowest, highest = float(finite.min()), float(finite.max())
    return lowest + 0.0, highest + 0.0


def scale(lowest: npt.ArrayLike, highest: npt.ArrayLike, bits: int) -> npt.NDArray[np.float64]:
    """Return the number of codes per unit of value.

    Parameters
    ----------
    lowest, highest
        The range of one vector, or arrays of the ranges of many.
    bits
        8 or 16.

    Returns
    -------
    ndarray
        float64, in the shape of `lowest` and `highest`; 0 where they are equal.
    """
    width = np.subtract(highest, lowest, dtype=np.float64)
    codes_per_unit = np.zeros(width.shape)
    np.divide(MAX_CODE[bits], width, out=codes_per_unit, where=width != 0)
    return codes_per_unit


def quantize(
    values: npt.NDArray[np.float32], bits: int
) -> tuple[npt.NDArray[np.unsignedinteger[Any]], float, float]:
    """Encode one vector over its own finite range.

    Parameters
    ----------
    values
        float32, (n,).
    bits
        8 or 16.

    Returns
    -------
    codes
        uint8 or uint16, (n,); ``MISSING_CODE[bits]`` where a value is not finite.
    lowest, highest
        The finite range.
    """
    lowest, highest = finite_range(values)
    finite = np.isfinite(values)
    exact = np.where(finite, values, lowest).astype(np.float64)
    exact -= lowest
    exact *= scale(lowest, highest, bits)
    codes = np.rint(exact, out=exact).astype(CODE_DTYPE[bits])
    codes[~finite] = MISSING_CODE[bits]
    return codes, lowest, highest
