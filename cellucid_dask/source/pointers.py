"""What must hold of the arrays of a compressed sparse matrix, whatever program wrote it."""

from __future__ import annotations

import numpy as np

from cellucid_dask.types import Array


def pointer_damage(
    name: str, indptr: Array, n_major: int, n_data: int, n_indices: int
) -> str | None:
    """Say why pointers cannot be those of a matrix: scipy would refuse them, or lose values.

    Parameters
    ----------
    name
        What to call the matrix.
    indptr
        The pointers of all rows (CSR) or columns (CSC).
    n_major
        Number of rows (CSR) or columns (CSC).
    n_data, n_indices
        Number of values, and of their indices.
    """
    if n_data != n_indices:
        return _damaged(name, f"it has {n_data:,} values but {n_indices:,} indices")
    if len(indptr) != n_major + 1:
        return _damaged(name, f"it has {len(indptr):,} pointers instead of {n_major + 1:,}")
    if indptr[0] != 0:
        return _damaged(name, f"its first pointer is {indptr[0]:,} instead of 0")
    if indptr[-1] != n_data:
        return _damaged(name, f"its last pointer is {indptr[-1]:,}, but it has {n_data:,} values")
    return _damaged(name, "its pointers fall") if _falls(indptr) else None


def block_damage(name: str, indptr: Array, data: Array, indices: Array, n_minor: int) -> str | None:
    """Say why some rows (CSR) or columns (CSC) cannot be of a matrix of `n_minor` others."""
    count = indptr[-1] - indptr[0]
    if indptr[0] < 0 or _falls(indptr) or not len(data) == len(indices) == count:
        return _damaged(name, "its pointers do not fit its values")
    if count and (indices.min() < 0 or indices.max() >= n_minor):
        return _damaged(name, f"it has indices that are not from 0 to {n_minor - 1:,}")
    return None


def _falls(indptr: Array) -> bool:
    return bool((np.diff(indptr) < 0).any())


def _damaged(name: str, how: str) -> str:
    return f"{name} is damaged: {how}. Create the file again."
