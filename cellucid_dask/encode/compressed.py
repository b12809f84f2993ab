"""Sparse blocks of a stored matrix. Most exports read nothing else, and never import scipy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cellucid_dask.types import Array


@dataclass(frozen=True)
class Compressed:
    """Rows (CSR) or columns (CSC) of a sparse matrix, with the names that scipy gives its parts.

    Attributes
    ----------
    data, indices
        (nnz,): stored values, and their columns (CSR) or rows (CSC).
    indptr
        (n_major + 1,): offset of the first value of each row (CSR) or column (CSC), and the end.
    shape
        (cells, genes).
    format
        ``"csr"`` or ``"csc"``.
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    format: Literal["csr", "csc"]

    def toscipy(self) -> Any:
        """Return the scipy matrix of the same arrays."""
        from scipy import sparse  # noqa: PLC0415  slow to import

        kind = sparse.csr_matrix if self.format == "csr" else sparse.csc_matrix
        return kind((self.data, self.indices, self.indptr), shape=self.shape)

    def tocsr(self) -> Any:
        """Return it as scipy CSR."""
        return self.toscipy().tocsr()

    def tocsc(self) -> Any:
        """Return it as scipy CSC."""
        return self.toscipy().tocsc()

    def toarray(self) -> Array:
        """Return it dense."""
        dense: Array = self.toscipy().toarray()
        return dense


def is_sparse(block: Any) -> bool:
    """Whether a block is `Compressed` or of scipy, as against anything numpy reads."""
    return hasattr(block, "tocsr")


def as_scipy(block: Any) -> Any:
    """Return a block as scipy sparse if it is sparse, else as it is."""
    return block.toscipy() if isinstance(block, Compressed) else block
