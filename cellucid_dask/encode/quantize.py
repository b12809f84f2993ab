"""The rules by which one vector of float32 values becomes 8 or 16 bit codes."""

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_CODE = {8: 254, 16: 65534}
MISSING_CODE = {8: 255, 16: 65535}
CODE_DTYPE = {8: "<u1", 16: "<u2"}


def as_float32(values: Any) -> npt.NDArray[np.float32]:
    """Return values as float32; what float32 cannot hold becomes infinite.

    Parameters
    ----------
    values
        Real numbers.

    Returns
    -------
    ndarray
        The values, uncopied where they are float32 already.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, dtype="<f4")


def finite_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest and largest finite value.

    Parameters
    ----------
    values
        A vector of float32.

    Returns
    -------
    tuple of float
        Both exact, never -0.0; (0.0, 0.0) when no value is finite.
    """
    if not values.size:
        return 0.0, 0.0
    lo, hi = float(values.min()), float(values.max())
    if not (np.isfinite(lo) and np.isfinite(hi)):
        finite = values[np.isfinite(values)]
        if not finite.size:
            return 0.0, 0.0
        lo, hi = float(finite.min()), float(finite.max())
    return lo + 0.0, hi + 0.0


def scale(lo: npt.ArrayLike, hi: npt.ArrayLike, bits: int) -> npt.NDArray[np.float64]:
    """Return how many codes there are to a unit of value.

    Parameters
    ----------
    lo, hi
        Smallest and largest value, of one vector or of many.
    bits
        8 or 16.

    Returns
    -------
    ndarray
        Codes per unit, in the shape of `lo` and `hi`; 0 where they are equal.
    """
    width = np.subtract(hi, lo, dtype=np.float64)
    codes = np.zeros(width.shape)
    np.divide(MAX_CODE[bits], width, out=codes, where=width != 0)
    return codes


def quantize(
    values: npt.NDArray[np.float32], bits: int
) -> tuple[npt.NDArray[np.unsignedinteger[Any]], float, float]:
    """Encode one vector over its own finite range.

    Parameters
    ----------
    values
        A vector of float32.
    bits
        8 or 16.

    Returns
    -------
    tuple
        The codes, the smallest and the largest finite value.
    """
    lo, hi = finite_range(values)
    finite = np.isfinite(values)
    position = np.where(finite, values, lo).astype(np.float64)
    position -= lo
    position *= scale(lo, hi, bits)
    codes = np.rint(position, out=position).astype(CODE_DTYPE[bits])
    codes[~finite] = MISSING_CODE[bits]
    return codes, lo, hi
