"""String columns of files, read by slices: as Python objects a whole one takes too much memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.source.reading import explaining


@dataclass(frozen=True)
class TextColumn:
    """Strings in a file, read a slice at a time.

    Attributes
    ----------
    what
        What to call it in errors.
    values
        str or bytes, shape (cells,).
    mask
        bool, true where a value is missing; ``None`` when none is.
    """

    what: str
    values: Any
    mask: Any = None

    dtype = np.dtype(object)
    ndim = 1

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self.values.shape[0])

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        """Read some rows as objects, ``None`` where the value is missing."""
        with explaining(self.what):
            values = np.array(self.values[rows], dtype=object)
        if self.mask is not None:
            values[np.asarray(self.mask[rows], bool)] = None
        return values
