"""The codes of 8 and 16 bits; `csrc/genes.h` has the rule that makes them of float32 values."""

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
