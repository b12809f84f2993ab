"""The expression matrix of any source, as one lazily loaded Dask array.

Whatever holds the numbers (an HDF5 dataset, a Zarr array, numpy) is read by slices, so
a stored matrix and one in memory differ in nothing else. Blocks come out as scipy
sparse matrices or numpy arrays, like those of anndata's own lazy reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from scipy import sparse

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.supervise import final
from cellucid_dask.types import Sizes

Storage = Literal["csr", "csc", "dense"]
Blocks = tuple[Sizes, Sizes]


class Sliceable(Protocol):
    """What every array offers: a shape, a dtype, and reading by slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __getitem__(self, selection: Any, /) -> Any: ...


class Matrix(Protocol):
    """Cells x genes: what planning needs to know, and the lazy array itself.

    Attributes
    ----------
    shape
        (cells, genes).
    dtype
        Of the stored values.
    storage
        How blocks come: by row (``csr``), by column (``csc``) or ``dense``.
    fixed_blocks
        Row and column block sizes that cannot be chosen, of a Dask array.
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def storage(self) -> Storage: ...  # noqa: D102
    @property
    def fixed_blocks(self) -> Blocks | None: ...  # noqa: D102

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the matrix as a Dask array of these blocks."""


@dataclass(frozen=True)
class SparseMatrix:
    """A compressed sparse matrix read by slices of its three arrays."""

    data: Sliceable
    indices: Sliceable
    indptr: Sliceable
    shape: tuple[int, int]
    storage: Literal["csr", "csc"]
    fixed_blocks: None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values as they are read: scipy takes native byte order, and no float16."""
        stored = np.dtype(self.data.dtype).newbyteorder("=")
        return np.dtype(np.float32) if stored == np.float16 else stored

    @property
    def n_major(self) -> int:
        """Number of rows (CSR) or of columns (CSC)."""
        return self.shape[0 if self.storage == "csr" else 1]

    @property
    def nnz(self) -> int:
        """Number of stored values."""
        return int(self.data.shape[0])

    @property
    def chunk(self) -> int:
        """How many stored values come with one read; 1 when any number can."""
        return max(_chunks(self.data)[0], _chunks(self.indices)[0])

    @property
    def value_nbytes(self) -> int:
        """Bytes of a stored value and its index."""
        return self.dtype.itemsize + np.dtype(self.indices.dtype).itemsize

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the matrix as a Dask array of these blocks (all rows or all columns)."""
        kind = sparse.csr_matrix if self.storage == "csr" else sparse.csc_matrix
        return _lazy(self, blocks, kind((0, 0), dtype=self.dtype))

    def read(self, rows: slice, columns: slice) -> Any:
        """Read some rows (CSR) or some columns (CSC) as a scipy matrix."""
        along = rows if self.storage == "csr" else columns
        indptr = np.asarray(self.indptr[along.start : along.stop + 1]).astype(np.int64)
        first, last = int(indptr[0]), int(indptr[-1])
        if not 0 <= first <= last <= self.nnz or len(indptr) != along.stop - along.start + 1:
            raise ExportError(
                "The sparse matrix is damaged: its row pointers do not fit its values. "
                "Write the file again from its origin."
            )
        data = np.asarray(self.data[first:last]).astype(self.dtype, copy=False)
        indices = np.asarray(self.indices[first:last])
        indices = indices.astype(indices.dtype.newbyteorder("="), copy=False)
        kind = sparse.csr_matrix if self.storage == "csr" else sparse.csc_matrix
        return kind(
            (data, indices, indptr - first),
            shape=(rows.stop - rows.start, columns.stop - columns.start),
        )


@dataclass(frozen=True)
class DenseMatrix:
    """A dense matrix read by slices."""

    array: Sliceable
    storage: Literal["dense"] = "dense"
    fixed_blocks: None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that come with one read; 1 where any number can."""
        rows, columns = _chunks(self.array)
        return rows, columns

    @property
    def row_major(self) -> bool:
        """Whether a read along rows is cheaper than one along columns."""
        flags = getattr(self.array, "flags", None)
        return flags is None or not flags.f_contiguous

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the matrix as a Dask array of these blocks."""
        return _lazy(self, blocks, np.empty((0, 0), self.dtype))

    def read(self, rows: slice, columns: slice) -> Any:
        """Read a region."""
        return np.asarray(self.array[rows, columns])


@dataclass(frozen=True)
class DaskMatrix:
    """A Dask array of sparse or dense blocks, as it was given."""

    array: da.Array
    storage: Storage

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def fixed_blocks(self) -> Blocks:
        """Row and column block sizes."""
        rows, columns = self.array.chunks
        return rows, columns

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the array itself: its blocks are its own."""
        if blocks != self.fixed_blocks:
            raise ValueError("the blocks of a Dask array cannot be chosen")
        return self.array


def _chunks(array: Sliceable) -> tuple[int, ...]:
    return tuple(getattr(array, "chunks", None) or (1,) * len(array.shape))


def _lazy(matrix: SparseMatrix | DenseMatrix, blocks: Blocks, meta: Any) -> da.Array:
    """Build the Dask array whose block (i, j) is ``matrix.read`` of its region."""
    name = "matrix-" + tokenize(id(matrix), blocks)
    rows, columns = slices(blocks[0]), slices(blocks[1])
    graph: dict[Any, Any] = {f"source-{name}": matrix}
    for i, across in enumerate(rows):
        for j, down in enumerate(columns):
            graph[name, i, j] = (_read, f"source-{name}", across, down)
    layer = HighLevelGraph.from_collections(name, graph)
    return da.Array(layer, name, blocks, meta=meta)


@final
def _read(matrix: SparseMatrix | DenseMatrix, rows: slice, columns: slice) -> Any:
    return matrix.read(rows, columns)


def slices(sizes: Sizes) -> list[slice]:
    """Return where each of some blocks lies."""
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)]
