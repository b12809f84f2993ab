"""What the documents of an export say: its files, and what each holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cellucid_dask.format.decode import DamageError, Stream, dequantize, most_bytes, plain_bytes
from cellucid_dask.types import Array

_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class File:
    """A binary file of an export.

    Attributes
    ----------
    path
        Relative to the export.
    dtype
        Of its values, little-endian.
    shape
        How many there are.
    compressed
        Whether it is a gzip member.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    compressed: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def most_bytes(self) -> int:
        """Bytes that the file cannot exceed."""
        return most_bytes(self.nbytes, self.compressed)

    def stream(self, data: bytes) -> Stream:
        """Inflate the file as it is asked for."""
        return Stream(data, self.compressed)

    def pieces(self, data: bytes) -> Iterator[Array]:
        """Return a vector some values at a time.

        Raises
        ------
        DamageError
            At the end, if the bytes are not that many values.
        """
        stream, left = self.stream(data), self.nbytes
        while left:
            plain = stream.read(min(left, _CHUNK_BYTES))
            if len(plain) < min(left, _CHUNK_BYTES):
                stream.finish()
                raise DamageError(f"holds {left - len(plain):,} bytes of values too few")
            yield np.frombuffer(plain, self.dtype)
            left -= len(plain)
        stream.finish()

    def decode(self, data: bytes) -> Array:
        """Return the values as they are stored.

        Raises
        ------
        DamageError
            The bytes are not that many values.
        """
        plain = plain_bytes(data, self.nbytes, self.compressed)
        return np.frombuffer(plain, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Points(File):
    """Finite coordinates, one row a cell."""


@dataclass(frozen=True)
class Vector(File):
    """A number a cell; quantized to codes between `limits`, or float32 without them."""

    key: str
    limits: tuple[float, float] | None

    def values(self, codes: Array) -> Array:
        """Return float32 values, NaN where missing, of what the file stores."""
        return codes if self.limits is None else dequantize(codes, self.limits)


@dataclass(frozen=True)
class Codes(File):
    """A category a cell, by its number."""

    key: str
    categories: tuple[str, ...]
    missing: int


@dataclass(frozen=True)
class Genes:
    """What ``var_manifest.json`` says."""

    n_cells: int
    level: int | None
    bits: int | None
    id_column: str
    vectors: dict[str, Vector]

    def files(self) -> Iterator[File]:
        """Every gene."""
        yield from self.vectors.values()


@dataclass(frozen=True)
class Columns:
    """What ``obs_manifest.json`` says; outlier quantiles by the key of their column."""

    n_cells: int
    level: int | None
    continuous: dict[str, Vector]
    categorical: dict[str, Codes]
    outliers: dict[str, Vector]

    def files(self) -> Iterator[File]:
        """Every column."""
        yield from self.continuous.values()
        yield from self.categorical.values()
        yield from self.outliers.values()


@dataclass(frozen=True)
class Edges:
    """What ``connectivity_manifest.json`` says."""

    n_cells: int
    level: int | None
    n_edges: int
    max_neighbors: int
    sources: File
    destinations: File

    def files(self) -> Iterator[File]:
        """Both ends of the edges."""
        yield self.sources
        yield self.destinations


@dataclass(frozen=True)
class Embeddings:
    """What ``dataset_identity.json`` says of points and vector fields."""

    n_cells: int
    level: int | None
    points: dict[int, Points]
    vectors: dict[tuple[str, int], File]

    def files(self) -> Iterator[File]:
        """Every embedding and vector field."""
        yield from self.points.values()
        yield from self.vectors.values()
