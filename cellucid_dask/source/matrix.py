"""The matrix of any source, read by blocks: directly, or as a lazily loaded Dask array.

The underlying arrays (HDF5 datasets, Zarr arrays, numpy) are read by slices, so that a stored
matrix and one in memory share one implementation. Blocks are sparse or numpy arrays; those of the
Dask array are of scipy, like those of anndata's own lazy reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
from dask.base import tokenize

from cellucid_dask.encode.compressed import Compressed
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.planning import Layout
from cellucid_dask.source.fingerprint import checksum
from cellucid_dask.source.pointers import block_damage, pointer_damage
from cellucid_dask.types import Array, Sizes

if TYPE_CHECKING:
    import dask.array as da

Storage = Literal["csr", "csc", "dense"]
Blocks = tuple[Sizes, Sizes]


class Sliceable(Protocol):
    """An array of any library: a shape, a dtype, and reading by slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __getitem__(self, selection: Any, /) -> Any: ...


class Matrix(Protocol):
    """Cells x genes, or cells x cells, read by blocks.

    Attributes
    ----------
    shape
        (cells, genes).
    dtype
        Of the values as they are read.
    storage
        Kind of the blocks: sparse by row (``csr``) or by column (``csc``), or ``dense``.
    fixed_blocks
        Row and column block sizes of a Dask array, which cannot be chosen; ``None`` if `read`
        can read any region.
    shared_nbytes
        Bytes in use for as long as the matrix is read.
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def storage(self) -> Storage: ...  # noqa: D102
    @property
    def fixed_blocks(self) -> Blocks | None: ...  # noqa: D102
    @property
    def shared_nbytes(self) -> int: ...  # noqa: D102

    def layout(self, columns: Array) -> Layout:
        """Describe the matrix for planning.

        Parameters
        ----------
        columns
            int, (n_selected,): columns of the genes to export, ascending.
        """

    def fingerprint(self) -> str:
        """Return a digest of all values in memory, or of a sample of values stored elsewhere."""

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the matrix as a Dask array of these blocks."""

    def prepare(self, blocks: Blocks) -> Self:
        """Return the matrix with whatever reading these blocks requires of all cells."""

    def read(self, rows: slice, columns: slice) -> Any:
        """Read a region as `Compressed`, scipy sparse or numpy.

        Raises
        ------
        TypeError
            The matrix has fixed blocks.
        """


class _Stored:
    """Common to matrices of which any region can be read."""

    fixed_blocks: None = None
    shared_nbytes = 0

    def prepare(self, _: Blocks) -> Self:
        """Return the matrix: reading a region requires nothing else."""
        return self

    def dask(self: Any, blocks: Blocks) -> da.Array:
        """Return the matrix as a Dask array; a block is read when it is computed."""
        from cellucid_dask.source.lazy import lazy_array  # noqa: PLC0415  slow to import

        return lazy_array(self, blocks)


@dataclass(frozen=True)
class SparseMatrix(_Stored):
    """A compressed sparse matrix read by slices of its three arrays.

    A region must have all columns (CSR) or all rows (CSC).

    Attributes
    ----------
    data, indices
        (nnz,): stored values, and their columns (CSR) or rows (CSC).
    indptr
        (n_major + 1,): offset of the first value of each row (CSR) or column (CSC), and the end.
    shape
        (cells, genes).
    storage
        ``"csr"`` or ``"csc"``.
    name
        What to call it in errors.
    """

    data: Sliceable
    indices: Sliceable
    indptr: Sliceable
    shape: tuple[int, int]
    storage: Literal["csr", "csc"]
    name: str = "The sparse matrix"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values as read: scipy requires native byte order and has no float16."""
        stored = np.dtype(self.data.dtype).newbyteorder("=")
        return np.dtype(np.float32) if stored == np.float16 else stored

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return int(self.data.shape[0])

    def layout(self, columns: Array) -> Layout:
        """Describe the matrix for planning; reads `indptr`."""
        return Layout(
            shape=self.shape,
            dtype=self.dtype,
            storage=self.storage,
            columns=columns,
            value_nbytes=self.dtype.itemsize + np.dtype(self.indices.dtype).itemsize,
            indptr=self.pointers(),
            chunk=(max(_chunks(self.data)[0], _chunks(self.indices)[0]), 1),
        )

    def pointers(self) -> Array:
        """Read `indptr` as int64.

        Raises
        ------
        RequestError
            It is not that of the matrix.
        """
        n_major = self.shape[0 if self.storage == "csr" else 1]
        n_pointers = min(self.indptr.shape[0], n_major + 2)  # one too many is enough to see
        indptr = np.asarray(self.indptr[0:n_pointers]).astype(np.int64)
        n_indices = int(self.indices.shape[0])
        if damage := pointer_damage(self.name, indptr, n_major, self.nnz, n_indices):
            raise RequestError(damage)
        return indptr

    def fingerprint(self) -> str:
        """Return a digest of the three arrays."""
        return _digest(self, self.data, self.indices, self.indptr)

    def read(self, rows: slice, columns: slice) -> Compressed:
        """Read some rows (CSR) or some columns (CSC).

        Raises
        ------
        ExportError
            They cannot be of this matrix.
        """
        along, across = (rows, 1) if self.storage == "csr" else (columns, 0)
        indptr = np.asarray(self.indptr[along.start : along.stop + 1]).astype(np.int64)
        first, last = int(indptr[0]), int(indptr[-1])
        data = np.asarray(self.data[first:last]).astype(self.dtype, copy=False)
        index_dtype = np.dtype(self.indices.dtype).newbyteorder("=")
        indices = np.asarray(self.indices[first:last]).astype(index_dtype, copy=False)
        if damage := block_damage(self.name, indptr, data, indices, self.shape[across]):
            raise ExportError(damage)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return Compressed(data, indices, indptr - first, shape, self.storage)


@dataclass(frozen=True)
class DenseMatrix(_Stored):
    """A dense matrix read by slices of `array`, (cells, genes)."""

    array: Sliceable
    storage: Literal["dense"] = "dense"

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return np.dtype(self.array.dtype)

    def layout(self, columns: Array) -> Layout:
        """Describe the matrix for planning."""
        flags = getattr(self.array, "flags", None)
        rows, across = _chunks(self.array)
        return Layout(
            shape=self.shape,
            dtype=self.dtype,
            storage=self.storage,
            columns=columns,
            value_nbytes=self.dtype.itemsize,
            chunk=(rows, across),
            row_major=flags is None or not flags.f_contiguous,
        )

    def fingerprint(self) -> str:
        """Return a digest of the array."""
        return _digest(self, self.array)

    def read(self, rows: slice, columns: slice) -> Any:
        """Read a region as an ndarray."""
        return np.asarray(self.array[rows, columns])


def _chunks(array: Sliceable) -> tuple[int, ...]:
    return tuple(getattr(array, "chunks", None) or (1,) * len(array.shape))


def _digest(matrix: SparseMatrix | DenseMatrix, *arrays: Sliceable) -> str:
    sums = [checksum(array) for array in arrays]
    return str(tokenize(matrix.shape, str(matrix.dtype), sums))
