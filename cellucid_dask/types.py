"""Names of types that many modules use."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Json = dict[str, Any]
# Lengths of blocks along one axis.
Sizes = tuple[int, ...]
