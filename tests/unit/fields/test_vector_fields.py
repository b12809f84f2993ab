"""Vector fields: chosen by name, scaled as their points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from cellucid_dask import RequestError
from cellucid_dask.fields.vector_fields import scale_vector_field
from cellucid_dask.request.vector_fields import VectorField, choose_vector_fields


def test_no_numbers() -> None:
    with pytest.raises(RequestError, match="real numbers"):
        scale_vector_field(np.zeros((3, 1), complex), 1.0, "drift")


@given(
    array=of_numpy.arrays(
        st.sampled_from([np.float32, np.float64, np.int16]),
        st.tuples(st.integers(1, 20), st.integers(1, 3)),
        elements=st.integers(-100, 100),
    ),
    scale=st.floats(1e-3, 1e3),
)
def test_scaling_rounds_once(array: Any, scale: float) -> None:
    found = scale_vector_field(array, scale, "drift")

    assert found.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(found, (array.astype(np.float64) * scale).astype(np.float32))


def test_choosing() -> None:
    widths = {"a": 2, "b_2d": 2, "b": 2, "c": 3}
    fields, warnings = choose_vector_fields(widths, {key: key for key in widths}, (2,))

    assert fields == [VectorField("a", 2, "a"), VectorField("b", 2, "b_2d")]
    assert len(warnings) == 1
    assert "'c' is 3D" in warnings[0]
