"""Where the values of genes lie in ``X``, and cutting them there. No I/O.

``X`` is a CSC matrix, or dense where most values are not zero. Its values are counted first, so the
place of each is known. The values of consecutive genes, a *run*, are then cut at the bounds of
chunks: the middle of a run is whole chunks; its ends are fragments, to be joined with others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cellucid_dask.encode.gene_vectors import GeneVectors
from cellucid_dask.output.cellucid_zarr.arrays import SLICED, WHOLE, ArraySpec
from cellucid_dask.types import Array

FLOAT32, FLOAT64 = np.dtype("<f4"), np.dtype("<f8")
_DENSE_SHARE = 1 / 2  # of values that are not zero, above which a dense matrix is smaller


class Piece(NamedTuple):
    """Some consecutive values of ``X``, inside one chunk.

    Attributes
    ----------
    start
        Number of values before them.
    arrays
        The values and, in a sparse matrix, the cell of each.
    """

    start: int
    arrays: tuple[Array, ...]

    @property
    def stop(self) -> int:
        """Number of values up to the last of them."""
        return self.start + len(self.arrays[0])


@dataclass(frozen=True)
class Expression:
    """The matrix ``X``.

    Attributes
    ----------
    n_cells
        Its rows.
    n_values
        int64, (n_genes,): values of each gene that are not zero.
    dtype
        Of its values: ``<f4``, or ``<f8`` for counts that float32 does not represent.
    """

    n_cells: int
    n_values: Array
    dtype: np.dtype[Any] = FLOAT32

    @property
    def n_genes(self) -> int:
        """Its columns."""
        return len(self.n_values)

    @cached_property
    def dense(self) -> bool:
        """Whether it is stored dense."""
        return bool(self.n_values.sum() > _DENSE_SHARE * self.n_cells * self.n_genes)

    @cached_property
    def starts(self) -> Array:
        """int64, (n_genes + 1,): number of stored values before each gene, and of all."""
        stored = np.full(self.n_genes, self.n_cells, np.int64) if self.dense else self.n_values
        starts: Array = np.concatenate(([0], np.cumsum(stored)))
        return starts

    @property
    def n_stored(self) -> int:
        """Number of stored values."""
        return int(self.starts[-1])

    @cached_property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The arrays that the pieces hold, without ``indptr``."""
        if self.dense:
            rows = max(1, min(self.n_cells, WHOLE))
            chunks = (rows, max(1, min(self.n_genes, WHOLE // rows)))
            shape = (self.n_cells, self.n_genes)
            return (ArraySpec("X", shape, chunks, self.dtype, shuffled=False, varied=True),)
        chunk = (max(1, min(self.n_stored, SLICED)),)
        return (
            ArraySpec("X/data", (self.n_stored,), chunk, self.dtype, shuffled=False, varied=True),
            ArraySpec("X/indices", (self.n_stored,), chunk, np.dtype("<i4"), varied=True),
        )

    def indptr(self) -> tuple[ArraySpec, Array]:
        """Return the row pointers of a sparse matrix."""
        dtype = "<i4" if self.n_stored < 2**31 else "<i8"
        return ArraySpec.vector("X/indptr", self.n_genes + 1, dtype), self.starts.astype(dtype)

    @property
    def chunk_values(self) -> int:
        """Values from the start of one chunk to that of the next, in the order of genes."""
        return self.arrays[0].chunks[-1] * (self.n_cells if self.dense else 1)

    def is_whole(self, piece: Piece) -> bool:
        """Whether a piece is a whole chunk."""
        size = self.chunk_values
        return piece.start % size == 0 and (
            piece.stop - piece.start == size or piece.stop == self.n_stored
        )

    def files(self, piece: Piece) -> Iterator[tuple[str, bytes]]:
        """Encode a whole chunk; yields the path and content of each of its files."""
        number = piece.start // self.chunk_values
        if not self.dense:
            for spec, values in zip(self.arrays, piece.arrays, strict=True):
                yield spec.key(number), spec.encode(values)
            return
        (spec,), height = self.arrays, self.arrays[0].chunks[0]
        strip = piece.arrays[0].reshape(-1, self.n_cells).T
        for row in range(0, self.n_cells, height):
            yield spec.key(row // height, number), spec.encode(strip[row : row + height])

    def values(self, genes: GeneVectors, slot: int, first: int, last: int) -> Piece:
        """Return the values of some of `genes`, of which the first has a slot in ``X``.

        Raises
        ------
        ExportError
            They are not as many as were counted.
        """
        start = int(self.starts[slot])
        counts = self.n_values[slot : slot + last - first]
        if not self.dense:
            return Piece(start, genes.columns(first, counts, self.dtype))
        if self.dtype == FLOAT32:
            return Piece(start, (genes.vectors(first, last, None).reshape(-1),))
        values, cells = genes.columns(first, counts, self.dtype)
        dense = np.zeros((last - first, self.n_cells), self.dtype)
        dense[np.repeat(np.arange(last - first), counts), cells] = values
        return Piece(start, (dense.reshape(-1),))


class Cutter:
    """Cuts consecutive values at the bounds of chunks.

    Parameters
    ----------
    start
        Number of values before them.
    size
        Values of a chunk.
    """

    def __init__(self, start: int, size: int) -> None:
        self._start = self._at = start
        self._size = size
        self._parts: list[tuple[Array, ...]] = []

    def add(self, arrays: tuple[Array, ...]) -> Iterator[Piece]:
        """Add values; yields what reaches the end of a chunk."""
        taken, count = 0, len(arrays[0])
        while taken < count:
            more = min(self._size - self._at % self._size, count - taken)
            self._parts.append(tuple(array[taken : taken + more] for array in arrays))
            taken += more
            self._at += more
            if self._at % self._size == 0:
                yield from self.rest()

    def rest(self) -> Iterator[Piece]:
        """Yield what waits for the end of its chunk."""
        if self._parts:
            yield Piece(self._start, tuple(map(_joined, zip(*self._parts, strict=True))))
            self._start, self._parts = self._at, []


def _joined(parts: tuple[Array, ...]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
