"""A matrix that is a Dask array, of an AnnData that is lazy or was transformed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import dask.array as da
import numpy as np
from dask.base import tokenize

from cellucid_dask.planning import Layout
from cellucid_dask.source.matrix import Blocks, Storage
from cellucid_dask.types import Array


@dataclass(frozen=True)
class DaskMatrix:
    """A Dask array of sparse or dense blocks, (cells, genes), in the blocks that it has."""

    array: da.Array
    storage: Storage
    shared_nbytes: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def fixed_blocks(self) -> Blocks:
        """Row and column block sizes."""
        rows, columns = self.array.chunks
        return rows, columns

    def layout(self, columns: Array) -> Layout:
        """Describe the array for planning; the number of stored values is unknown."""
        return Layout(
            shape=self.shape,
            dtype=self.dtype,
            storage=self.storage,
            columns=columns,
            value_nbytes=self.dtype.itemsize + (0 if self.storage == "dense" else 4),
            fixed_blocks=self.fixed_blocks,
        )

    def fingerprint(self) -> str:
        """Return a digest of the array's name in Dask."""
        return str(tokenize(self.array.name))

    def prepare(self, _: Blocks) -> Self:
        """Return the matrix."""
        return self

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the array itself."""
        if blocks != self.fixed_blocks:
            raise ValueError("the blocks of a Dask array cannot be chosen")
        return self.array

    def read(self, rows: slice, columns: slice) -> Any:
        """Raise a TypeError: only a scheduler can compute a block."""
        raise TypeError(f"a block of a Dask array is computed, not read: {rows}, {columns}")
