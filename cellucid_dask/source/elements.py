"""The elements of an AnnData in a file: found by their paths, with what they link to checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from cellucid_dask.encode.compressed import is_sparse
from cellucid_dask.source.claims import check_shape
from cellucid_dask.source.encodings import read_element
from cellucid_dask.source.matrix import DenseMatrix, Matrix, SparseMatrix
from cellucid_dask.source.reading import UnreadableError, explaining


class Links(Protocol):
    """What a file may lead to: `Hdf5Links` or `SymbolicLinks`."""

    def find(self, group: Any, path: str, /) -> bool:
        """Check the links on the way to an element; whether it is there."""

    def check(self, group: Any, path: str, /) -> None:
        """Check all that an element consists of."""

    def others(self, group: Any, /) -> set[str]:
        """Return the other files that values may come from."""

    def below(self, path: str, /) -> Links:
        """Return the same for the group at a path."""


@dataclass(frozen=True)
class Elements:
    """The elements of a group.

    Attributes
    ----------
    group
        Its HDF5 or Zarr group.
    name
        What to call its file in errors.
    links
        What it may lead to.
    open_array
        Makes of an array, and what to call it, what tasks read it by.
    """

    group: Any
    name: str
    links: Links
    open_array: Callable[[Any, str], Any]

    def __contains__(self, path: str) -> bool:
        """Whether there is an element at a path."""
        with explaining(self.title(path)):
            return self.links.find(self.group, path) and path in self.group

    def below(self, path: str, name: str) -> Elements:
        """Return the elements of a group among them."""
        return replace(self, group=self.glance(path), name=name, links=self.links.below(path))

    def others(self) -> list[str]:
        """Return the other files that their values may come from, sorted."""
        return sorted(self.links.others(self.group))

    def title(self, path: str) -> str:
        """Return what to call an element in errors."""
        return f"{path} of {self.name}"

    def names(self, path: str) -> list[str]:
        """Return the names of the elements of a group, sorted; none if it is not there."""
        if path not in self:
            return []
        with explaining(self.title(path)):
            return sorted(map(str, self.group[path]))

    def glance(self, path: str) -> Any:
        """Open an element for its attributes only: its values may not be readable.

        Raises
        ------
        UnreadableError
            It is not there, or damaged.
        """
        if path not in self:
            raise UnreadableError(f"{self.title(path)} is not there.")
        with explaining(self.title(path)):
            element = self.group[path]
            check_shape(self.title(path), getattr(element, "shape", None) or ())
            return element

    def open(self, path: str) -> Any:
        """Open an element, having checked that its values may be read."""
        element = self.glance(path)
        with explaining(self.title(path)):
            self.links.check(self.group, path)
        return element

    def read(self, path: str) -> Any:
        """Read an element whole, as anndata does."""
        element = self.open(path)
        with explaining(self.title(path)):
            return read_element(element)

    def array(self, path: str) -> Any:
        """Open an array to be read by slices."""
        element = self.open(path)
        with explaining(self.title(path)):
            return self.open_array(element, self.title(path))

    def matrix(self, path: str) -> Matrix | None:
        """Open a matrix to be read by regions; ``None`` if it is stored as empty."""
        element = self.open(path)
        with explaining(self.title(path)):
            return stored_matrix(element, self.title(path), self.open_array)


def shape_of(element: Any) -> tuple[int, ...]:
    """Return the shape of an array or of a sparse group; ``()`` of anything else."""
    attributes = element.attrs
    stated = [key for key in ("shape", "h5sparse_shape") if _is_numeric(attributes, key)]
    shape: Any = attributes[stated[0]] if stated else getattr(element, "shape", None)
    try:
        sizes = tuple(map(int, shape))
    except (TypeError, ValueError, OverflowError):
        return ()
    return sizes if min(sizes, default=0) >= 0 else ()


def _is_numeric(attributes: Any, key: str) -> bool:
    """Whether there is an attribute that may be numbers; a text of HDF5 may be of any length."""
    if key not in attributes:
        return False
    return not hasattr(attributes, "get_id") or attributes.get_id(key).dtype.kind in "iuf"


def encoding_of(element: Any) -> str:
    """Return the encoding that an element names, or an empty text."""
    return str(element.attrs.get("encoding-type", ""))


def stored_matrix(element: Any, what: str, open_array: Callable[[Any, str], Any]) -> Matrix | None:
    """Open an array or a sparse group as AnnData writes them."""
    if hasattr(element, "dtype"):
        if element.shape is None or len(element.shape) != 2:
            return None  # X = None is written as an empty dataset
        return DenseMatrix(open_array(element, what))
    attributes = element.attrs
    kind = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))[:3]
    shape = shape_of(element)
    if kind not in ("csr", "csc") or len(shape) != 2:
        raise UnreadableError(
            f"{what} is stored as {kind or 'something unknown'!r}: "
            "write it as a dense, CSR or CSC array."
        )
    return SparseMatrix(
        data=open_array(element["data"], f"data of {what}"),
        indices=open_array(element["indices"], f"indices of {what}"),
        indptr=open_array(element["indptr"], f"indptr of {what}"),
        shape=(shape[0], shape[1]),
        storage="csr" if kind == "csr" else "csc",
        name=what,
    )


@dataclass(frozen=True)
class DenseRows:
    """A sparse matrix of obsm, read as a dense one.

    Attributes
    ----------
    matrix
        Stored by rows.
    """

    matrix: SparseMatrix

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, columns)."""
        return self.matrix.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self.matrix.dtype

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        """Read some rows."""
        start, stop, _ = rows.indices(self.shape[0])
        block: np.ndarray[Any, Any] = self.matrix.read(
            slice(start, stop), slice(0, self.shape[1])
        ).toarray()
        return block


def as_rows(matrix: SparseMatrix) -> DenseRows:
    """Return a sparse matrix as one of dense rows; one stored by columns is read whole."""
    matrix.pointers()
    if matrix.storage == "csr":
        return DenseRows(matrix)
    whole = matrix.read(slice(0, matrix.shape[0]), slice(0, matrix.shape[1])).tocsr()
    return DenseRows(
        SparseMatrix(whole.data, whole.indices, whole.indptr, matrix.shape, "csr", matrix.name)
    )


def as_dense(values: Any) -> np.ndarray[Any, Any]:
    """Return a small matrix in memory (dense, sparse, masked, a table) as a numpy array."""
    if hasattr(values, "to_memory"):
        values = values.to_memory()
    if isinstance(values, np.ma.MaskedArray):
        return without_mask(values)
    return np.asarray(values.toarray() if is_sparse(values) else values)


def without_mask(values: Any) -> np.ndarray[Any, Any]:
    """Return a masked array as an ordinary one, NaN where values are masked."""
    if not np.ma.is_masked(values):
        return np.asarray(values.data)
    floating = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    filled: np.ndarray[Any, Any] = floating.filled(np.nan)
    return filled
