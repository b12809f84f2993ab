"""Columns of strings in files, read a slice at a time: as Python objects they are huge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TextColumn:
    """Strings that stay where they are until a slice is asked for.

    Attributes
    ----------
    values
        str or bytes.
    mask
        Where there is no value; ``None`` when there is one everywhere.
    """

    values: Any
    mask: Any = None

    dtype = np.dtype(object)
    ndim = 1

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.values.shape[0])

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        """Read some rows as objects, ``None`` where there is no value."""
        values = np.array(self.values[rows], dtype=object)
        if self.mask is not None:
            values[np.asarray(self.mask[rows], bool)] = None
        return values
