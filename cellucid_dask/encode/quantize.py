"""Numbers that float32 holds, and their codes of 8 and 16 bits (rule: `kernel/csrc/genes.h`)."""

from typing import Any

import numpy as np
import numpy.typing as npt

# float32 represents all whole numbers up to this one.
EXACT = 2**24
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


def value_dtype(dtype: np.dtype[Any], *, exact: bool = False) -> np.dtype[Any]:
    """Return the dtype of a tile's values: the source's if float32 represents it, else float32.

    Parameters
    ----------
    dtype
        Of the source.
    exact
        Whether it is float64 instead of float32 that others become.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    return dtype if np.can_cast(dtype, np.float32) else np.dtype("f8" if exact else "f4")


def exceed_float32(values: npt.NDArray[Any]) -> bool:
    """Whether float32 may not represent values of a wider dtype, if they are whole numbers."""
    if np.can_cast(values.dtype, np.float32) or not values.size:
        return False
    return bool(values.max() > EXACT or values.min() < -EXACT)
