"""Slabs of a dense matrix are joined to what they were cut from, sparse or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cellucid_dask.source.slabs import join_slabs

DTYPES = ("f4", "f8", "i2", "u1", "?", ">f4", ">i4", "f2")


def matrix(n_cells: int, density: float, dtype: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.where(random.random((n_cells, 5)) < density, random.integers(1, 9, (n_cells, 5)), 0)
    found = values.astype(dtype)
    if found.dtype.kind == "f" and n_cells:
        found[random.integers(n_cells), random.integers(5)] = np.nan
    return found


@given(
    n_cells=st.integers(1, 60),
    height=st.integers(1, 20),
    density=st.sampled_from([0, 0.05, 0.2, 0.3, 1]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_any_matrix(n_cells: int, height: int, density: float, dtype: str, seed: int) -> None:
    values = matrix(n_cells, density, dtype, seed)
    slabs = (values[start : start + height] for start in range(0, n_cells, height))
    found = join_slabs(slabs, values.shape, values.dtype)
    found = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_array_equal(found, values)
    assert found.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")


@pytest.mark.parametrize("dtype", ["f4", ">f8", "u1"])
def test_zeros_are_not_held(dtype: str) -> None:
    values = matrix(1000, 0.1, dtype, 0)
    found = join_slabs(np.array_split(values, 7), values.shape, values.dtype)
    assert sparse.issparse(found)
    assert found.nnz == np.count_nonzero(values)


def test_one_full_slab_makes_all_dense() -> None:
    values = np.vstack([matrix(500, 0.05, "f4", 0), matrix(500, 0.9, "f4", 1)])
    found = join_slabs(np.array_split(values, 10), values.shape, values.dtype)
    assert isinstance(found, np.ndarray)
    assert found.flags.f_contiguous  # gene after gene
