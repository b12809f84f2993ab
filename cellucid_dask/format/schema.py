"""What the documents of an export describe: its files, and the values of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cellucid_dask.format import names
from cellucid_dask.format.decode import DamageError, Stream, dequantize, plain_bytes
from cellucid_dask.types import Array, Json

_CHUNK_BYTES = 4 * 2**20
_GZIP_FRAMING = 1024  # more than the header and trailer of a gzip member take


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
        Of the array of its values.
    compressed
        Whether it is a gzip member.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    compressed: bool

    @property
    def nbytes(self) -> int:
        """Size of the values, in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def max_bytes(self) -> int:
        """Upper bound of the size of the file, in bytes."""
        nbytes = self.nbytes
        return nbytes + nbytes // 1000 + _GZIP_FRAMING if self.compressed else nbytes

    def chunks(self, data: bytes) -> Iterator[Array]:
        """Decode the file in chunks, flat.

        Raises
        ------
        DamageError
            After the last chunk, if the number of values is wrong.
        """
        stream, left = Stream(data, self.compressed), self.nbytes
        while left:
            plain = stream.read(min(left, _CHUNK_BYTES))
            if len(plain) < min(left, _CHUNK_BYTES):
                stream.finish()
                raise DamageError(f"holds {left - len(plain):,} bytes of values too few")
            yield np.frombuffer(plain, self.dtype)
            left -= len(plain)
        stream.finish()

    def decode(self, data: bytes) -> Array:
        """Return the values as they are stored, in `shape`.

        Raises
        ------
        DamageError
            The number of values is wrong.
        """
        plain = plain_bytes(data, self.nbytes, self.compressed)
        return np.frombuffer(plain, self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Points(File):
    """Finite coordinates, one row per cell."""


@dataclass(frozen=True)
class Vector(File):
    """A number per cell: codes over `value_range`, or float32 where that is None.

    Attributes
    ----------
    key
        The gene or column.
    value_range
        Lowest and highest value.
    """

    key: str
    value_range: tuple[float, float] | None

    def values(self, stored: Array) -> Array:
        """Return float32 values, NaN where missing, from what the file stores."""
        if self.value_range is None:
            return stored
        return dequantize(stored, self.value_range).astype("<f4")


@dataclass(frozen=True)
class Codes(File):
    """A category per cell, as a number.

    Attributes
    ----------
    key
        The column.
    categories
        In the order of their numbers.
    missing
        Number of a cell without a category.
    """

    key: str
    categories: tuple[str, ...]
    missing: int


@dataclass(frozen=True)
class Genes:
    """The content of ``var_manifest.json``.

    `layer` and `normalize` say what the values are of the source.
    """

    n_cells: int
    level: int | None
    bits: int | None
    id_column: str
    vectors: dict[str, Vector]
    layer: str = "X"
    normalize: Literal["log1p-cp10k"] | None = None

    def files(self) -> Iterator[File]:
        """Iterate over the files of the genes."""
        yield from self.vectors.values()


@dataclass(frozen=True)
class Columns:
    """The content of ``obs_manifest.json``; outlier quantiles by the key of their column."""

    n_cells: int
    level: int | None
    continuous: dict[str, Vector]
    categorical: dict[str, Codes]
    outliers: dict[str, Vector]

    def files(self) -> Iterator[File]:
        """Iterate over the files of the columns."""
        yield from self.continuous.values()
        yield from self.categorical.values()
        yield from self.outliers.values()


@dataclass(frozen=True)
class Edges:
    """The content of ``connectivity_manifest.json``."""

    n_cells: int
    level: int | None
    n_edges: int
    max_neighbors: int
    sources: File
    destinations: File

    def files(self) -> Iterator[File]:
        """Iterate over both ends of the edges."""
        yield self.sources
        yield self.destinations


@dataclass(frozen=True)
class Embeddings:
    """Points and vector fields, as ``dataset_identity.json`` lists them."""

    n_cells: int
    level: int | None
    points: dict[int, Points]
    vectors: dict[tuple[str, int], File]

    def files(self) -> Iterator[File]:
        """Iterate over the files of embeddings and vector fields."""
        yield from self.points.values()
        yield from self.vectors.values()


@dataclass(frozen=True)
class Documents:
    """All documents of an export, as far as they exist and can be parsed.

    Attributes
    ----------
    json
        The documents themselves, by name.
    damage
        What is wrong with those that cannot be parsed, each message with a name.
    embeddings, columns, genes, edges
        What the documents describe; None without the document.
    """

    json: dict[str, Json]
    damage: list[str]
    embeddings: Embeddings | None
    columns: Columns | None
    genes: Genes | None
    edges: Edges | None

    @property
    def identity(self) -> Json:
        """The identity as it is; empty if there is none."""
        return self.json.get(names.IDENTITY, {})

    @property
    def parts(self) -> dict[str, Genes | Columns | Edges | Embeddings]:
        """What the documents describe, by name of the document."""
        parts = {
            names.IDENTITY: self.embeddings,
            names.OBS_MANIFEST: self.columns,
            names.VAR_MANIFEST: self.genes,
            names.CONNECTIVITY_MANIFEST: self.edges,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def n_cells(self) -> int:
        """Number of cells, by the first document that can be parsed."""
        return next((part.n_cells for part in self.parts.values()), 0)

    def files(self) -> list[File]:
        """Return every file that the documents name."""
        return [file for part in self.parts.values() for file in part.files()]
