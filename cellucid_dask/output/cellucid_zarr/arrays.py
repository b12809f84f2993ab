"""Groups and arrays of Zarr version 2, as the bytes of their files. No I/O."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import deflate
import numpy as np

from cellucid_dask.encode.compress import compress_numbers
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.manifests import to_json
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

GROUP, ARRAY, ATTRIBUTES, METADATA = ".zgroup", ".zarray", ".zattrs", ".zmetadata"
# Elements of a chunk of an array that is read by slices, and of one that is read whole.
SLICED, WHOLE = 2**16, 2**18

# What readers are told, and what libdeflate is asked for: about as small as level 6 of zlib.
_LEVEL, _EFFORT = 6, 5
_TEXT_BYTES = 2**20  # of the text of a scalar
_TEXT = np.dtype(object)


def encoding(kind: str, version: str = "0.2.0") -> Json:
    """Return the attributes by which AnnData tells elements apart."""
    return {"encoding-type": kind, "encoding-version": version}


ENCODED_ARRAY = encoding("array")


@dataclass(frozen=True)
class ArraySpec:
    """An array, and how it is cut and compressed.

    Attributes
    ----------
    path
        Of the array in its store.
    shape, chunks
        Of the array, and of a chunk.
    dtype
        Little-endian numbers, booleans, or objects: text.
    shuffled
        Whether the bytes of items that are wider than one are shuffled.
    varied
        Whether numbers seldom repeat, as those of genes and embeddings: the kernel compresses them
        faster than the library, to nearly the same size.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    shuffled: bool = True
    varied: bool = False

    @classmethod
    def vector(cls, path: str, length: int, dtype: Any, target: int = WHOLE) -> ArraySpec:
        """Describe one row of items."""
        return cls(path, (length,), (max(1, min(length, target)),), _stored(dtype))

    @classmethod
    def rows(cls, path: str, shape: tuple[int, int], dtype: Any) -> ArraySpec:
        """Describe an embedding, of which a chunk holds whole rows."""
        columns = max(1, shape[1])
        chunks = (max(1, min(shape[0], WHOLE // columns)), columns)
        return cls(path, shape, chunks, _stored(dtype), varied=True)

    @property
    def _shuffles(self) -> bool:
        return self.shuffled and self.dtype != _TEXT and self.dtype.itemsize > 1

    def metadata(self) -> Json:
        """Return the content of ``.zarray``."""
        filters: list[Json] | None = None
        if self.dtype == _TEXT:
            filters = [{"id": "vlen-utf8"}]
        elif self._shuffles:
            filters = [{"id": "shuffle", "elementsize": self.dtype.itemsize}]
        return {
            "shape": list(self.shape),
            "chunks": list(self.chunks),
            "dtype": "|O" if self.dtype == _TEXT else self.dtype.str,
            "fill_value": "" if self.dtype == _TEXT else np.zeros((), self.dtype).item(),
            "order": "C",
            "filters": filters,
            "dimension_separator": ".",
            "compressor": {"id": "zlib", "level": _LEVEL},
            "zarr_format": 2,
        }

    def key(self, *position: int) -> str:
        """Return the path of a chunk."""
        return f"{self.path}/{'.'.join(map(str, position or (0,)))}"

    @property
    def _grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis; there are none of no values."""
        if not math.prod(self.shape):
            return (0,)
        return tuple(-(-n // each) for n, each in zip(self.shape, self.chunks, strict=True))

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return math.prod(self._grid)

    def positions(self) -> Iterator[tuple[int, ...]]:
        """Iterate over the positions of all chunks, in order."""
        return itertools.product(*map(range, self._grid))

    def encode(self, values: Array) -> bytes:
        """Return the content of a chunk; values that it lacks to a whole one are zero."""
        if values.shape != self.chunks:
            whole = np.full(self.chunks, "" if self.dtype == _TEXT else 0, self.dtype)
            whole[tuple(map(slice, values.shape))] = values
            values = whole
        if self.dtype == _TEXT:
            from numcodecs import VLenUTF8  # noqa: PLC0415  slow to import

            plain: Any = bytes(VLenUTF8().encode(values.reshape(-1)))
            return bytes(deflate.zlib_compress(plain, _EFFORT))
        numbers = np.ascontiguousarray(values, self.dtype).reshape(-1)
        if self.varied:
            return compress_numbers(numbers, shuffled=self.shuffled)
        plain = numbers.view(np.uint8)
        if self._shuffles:
            plain = np.ascontiguousarray(plain.reshape(-1, self.dtype.itemsize).T).reshape(-1)
        return bytes(deflate.zlib_compress(plain, _EFFORT))


def decode_text(data: bytes) -> str:
    """Return the text in the only chunk of a scalar.

    Raises
    ------
    ValueError
        It is none.
    """
    from numcodecs import VLenUTF8  # noqa: PLC0415  slow to import

    try:
        plain = zlib.decompressobj().decompress(data, _TEXT_BYTES)
        return str(VLenUTF8().decode(plain)[0])
    except (zlib.error, IndexError) as error:
        raise ValueError(str(error)) from error


def _stored(dtype: Any) -> np.dtype[Any]:
    stored: np.dtype[Any] = np.dtype(dtype)
    return stored if stored.kind == "O" else stored.newbyteorder("<")


@dataclass(frozen=True)
class Hierarchy:
    """Groups and arrays of a store, whose files are passed on as they are made.

    Attributes
    ----------
    keep
        Receives path and content of each file, and returns its digest.
    metadata
        Content of the files that describe groups and arrays, by path.
    files
        Digests of all files, by path.
    """

    keep: Callable[[str, bytes], FileDigest]
    metadata: dict[str, Json] = field(default_factory=dict)
    files: dict[str, FileDigest] = field(default_factory=dict)

    @classmethod
    def in_target(cls, target: Target) -> Self:
        """Return a hierarchy whose files are written at once."""

        def keep(path: str, data: bytes) -> FileDigest:
            target.put({path: data})
            return FileDigest.of(data, target.tag(data))

        return cls(keep)

    def put(self, path: str, data: bytes) -> None:
        """Add a file."""
        self.files[path] = self.keep(path, data)

    def _describe(self, path: str, content: Json) -> None:
        self.metadata[path] = content
        self.put(path, to_json(content))

    def group(self, path: str, attributes: Json) -> None:
        """Add a group."""
        self._describe(f"{path}/{GROUP}", {"zarr_format": 2})
        self._describe(f"{path}/{ATTRIBUTES}", attributes)

    def array(self, spec: ArraySpec, attributes: Json) -> ArraySpec:
        """Add an array without its chunks, and return it."""
        self._describe(f"{spec.path}/{ARRAY}", spec.metadata())
        self._describe(f"{spec.path}/{ATTRIBUTES}", attributes)
        return spec

    def values(self, spec: ArraySpec, values: Any, attributes: Json = ENCODED_ARRAY) -> None:
        """Add an array with all its chunks.

        Parameters
        ----------
        spec
            What it is.
        values
            Of that shape, read by slices of rows.
        attributes
            Of the array.
        """
        self.array(spec, attributes)
        if not spec.shape:
            self.put(spec.key(), spec.encode(np.asarray(values, spec.dtype)))
            return
        height = spec.chunks[0]
        for position in spec.positions():
            rows = slice(position[0] * height, (position[0] + 1) * height)
            block = np.asarray(values[rows], object if spec.dtype == _TEXT else None)
            self.put(spec.key(*position), spec.encode(block))

    def scalar(self, path: str, value: str | float) -> None:
        """Add a text or a number."""
        text = isinstance(value, str)
        spec = ArraySpec(path, (), (), _TEXT if text else np.asarray(value).dtype)
        self.values(spec, value, encoding("string" if text else "numeric-scalar"))

    def mapping(self, path: str, content: Json) -> None:
        """Add a mapping of texts, numbers, arrays of numbers and mappings."""
        self.group(path, encoding("dict", "0.1.0"))
        for name, value in content.items():
            child = f"{path}/{name}"
            if isinstance(value, dict):
                self.mapping(child, value)
            elif isinstance(value, Sequence) and not isinstance(value, str):
                numbers = np.asarray(value, np.int64)
                self.values(ArraySpec.vector(child, len(numbers), np.int64), numbers)
            else:
                self.scalar(child, value)


def consolidated(metadata: Json) -> bytes:
    """Return the content of ``.zmetadata``."""
    ordered = {path: metadata[path] for path in sorted(metadata)}
    return to_json({"zarr_consolidated_format": 1, "metadata": ordered})
