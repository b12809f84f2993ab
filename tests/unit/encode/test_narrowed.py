"""Counts are narrowed only where their bits come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cellucid_dask.encode.tiles import narrowed

DTYPES = ["f4", "f2", "u2", "i2", "u1", "i1", "?"]


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=2, max_side=90))
    )
)
def test_the_bits_come_back(values: np.ndarray) -> None:
    found = narrowed(values)
    assert found.dtype.itemsize <= values.dtype.itemsize
    assert found.astype(values.dtype).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 255], "u1"), ([1, 256], "u2"), ([0, 65535], "u2"), ([65536], "f4"), ([], "f4"),
        ([-1], "f4"), ([-0.0, 1], "f4"), ([1, np.nan], "f4"), ([np.inf], "f4"), ([1.5], "f4"),
        ([*[3] * 70, 0.5], "f4"),
    ],
)  # fmt: skip
def test_narrows_counts_that_fit(values: list[float], dtype: str) -> None:
    assert narrowed(np.array(values, "f4")).dtype == dtype


def test_narrows_wider_integers() -> None:
    assert narrowed(np.array([0, 7], "u2")).dtype == np.uint8
