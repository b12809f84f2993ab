"""Damaged sparse matrices are refused where scipy refuses them, and where it loses values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cellucid_dask import ExportError, RequestError
from cellucid_dask.source.matrix import SparseMatrix

N_CELLS, N_GENES = 5, 4
ALL = slice(0, N_CELLS), slice(0, N_GENES)


def small_matrix(storage: Literal["csr", "csc"]) -> tuple[SparseMatrix, Any]:
    dense = np.random.default_rng(3).poisson(0.7, (N_CELLS, N_GENES)).astype(np.float32)
    scipy = sparse.csr_matrix(dense) if storage == "csr" else sparse.csc_matrix(dense)
    matrix = SparseMatrix(
        scipy.data, scipy.indices, scipy.indptr, scipy.shape, storage, "X of a.h5ad"
    )
    return matrix, dense


def read_whole(matrix: SparseMatrix) -> Any:
    matrix.layout(np.arange(N_GENES))
    return matrix.read(*ALL).toarray()


def is_sound(matrix: SparseMatrix) -> bool:
    """Whether scipy accepts the arrays, and uses all of them."""
    kind = sparse.csr_matrix if matrix.storage == "csr" else sparse.csc_matrix
    try:
        made = kind((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
        made.check_format(full_check=True)
    except ValueError:
        return False
    return made.indptr[-1] == len(matrix.data) == len(matrix.indices)


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_sound(storage: Any) -> None:
    matrix, dense = small_matrix(storage)
    np.testing.assert_array_equal(read_whole(matrix), dense)


@pytest.mark.parametrize("storage", ["csr", "csc"])
@given(data=st.data())
def test_as_scipy(storage: Any, data: st.DataObject) -> None:
    """Whatever is changed in the arrays, the matrix is read as scipy does, or refused."""
    matrix, _ = small_matrix(storage)
    name = data.draw(st.sampled_from(["data", "indices", "indptr"]))
    array = np.array(getattr(matrix, name))
    edit = data.draw(st.sampled_from(["shorter", "longer", "value"]))
    if edit == "shorter":
        array = array[: -data.draw(st.integers(1, len(array)))]
    elif edit == "longer":
        array = np.append(array, [array[-1]] * data.draw(st.integers(1, 2))).astype(array.dtype)
    else:
        place = data.draw(st.integers(0, len(array) - 1))
        array[place] += data.draw(st.integers(-3, 3))
    changed = replace(matrix, **{name: array})
    if is_sound(changed):
        kind = sparse.csr_matrix if storage == "csr" else sparse.csc_matrix
        expected = kind((changed.data, changed.indices, changed.indptr), shape=changed.shape)
        np.testing.assert_array_equal(read_whole(changed), expected.toarray())
    else:
        with pytest.raises(
            (RequestError, ExportError), match=r"^X of a\.h5ad is damaged: .*Create"
        ):
            read_whole(changed)


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_a_block_is_checked_by_itself(storage: Any) -> None:
    """The pointers may have been read long before, or by another process."""
    matrix, _ = small_matrix(storage)
    pointers = np.asarray(matrix.indptr)
    for indptr in (pointers[::-1], pointers + 2, pointers - 2):
        with pytest.raises(ExportError, match="pointers do not fit"):
            replace(matrix, indptr=indptr).read(*ALL)
