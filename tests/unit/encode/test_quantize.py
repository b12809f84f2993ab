"""One vector to codes and back, as the viewer reads it."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellucid_dask.encode.genes import quantize
from cellucid_dask.encode.quantize import CODE_DTYPE, MAX_CODE, MISSING_CODE, as_float32

BITS = pytest.mark.parametrize("bits", [8, 16])
VECTORS = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


def decode(codes: Any, lo: Any, hi: Any, bits: Any) -> Any:
    top = 254 if bits == 8 else 65534
    values = lo + codes.astype(np.float64) * (hi - lo) / top
    values[codes == top + 1] = np.nan
    return values


@BITS
@given(values=VECTORS)
def test_every_value_comes_back_within_half_a_step(bits: Any, values: Any) -> None:
    codes, lo, hi = quantize(values, bits)
    assert codes.dtype == np.dtype(CODE_DTYPE[bits])
    finite = np.isfinite(values)
    assert (codes == MISSING_CODE[bits]).tolist() == (~finite).tolist()
    if not finite.any():
        assert (lo, hi) == (0.0, 0.0)
        return
    assert lo == values[finite].min()
    assert hi == values[finite].max()
    half = (hi - lo) / MAX_CODE[bits] / 2
    error = np.abs(decode(codes, lo, hi, bits)[finite] - values[finite].astype(np.float64))
    assert (error <= half * (1 + 1e-9) + 4e-16 * max(abs(lo), abs(hi))).all()


@BITS
@given(values=VECTORS)
def test_codes_are_those_of_the_formula(bits: Any, values: Any) -> None:
    codes, lo, hi = quantize(values, bits)
    for value, code in zip(values, codes, strict=True):
        if not np.isfinite(value):
            assert code == MISSING_CODE[bits]
        elif lo == hi:
            assert code == 0
        else:
            assert code == round((float(value) - lo) * (MAX_CODE[bits] / (hi - lo)))


@BITS
def test_the_ends_of_the_range_are_exact(bits: Any) -> None:
    codes, lo, hi = quantize(np.array([-1.5, 0, 7], np.float32), bits)
    assert (codes[0], codes[2], lo, hi) == (0, MAX_CODE[bits], -1.5, 7.0)


@BITS
@pytest.mark.parametrize("value", [0.0, -0.0, 3.5, -1e-45, 3.4e38])
def test_one_value_only(bits: Any, value: Any) -> None:
    values = np.array([value, np.nan, value], np.float32)
    codes, lo, hi = quantize(values, bits)
    assert codes.tolist() == [0, MISSING_CODE[bits], 0]
    assert lo == hi == values[0]
    assert not np.signbit(lo) or value < 0


@BITS
@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, -np.inf, np.nan]])
def test_nothing_finite(bits: Any, values: Any) -> None:
    codes, lo, hi = quantize(np.array(values, np.float32), bits)
    assert codes.tolist() == [MISSING_CODE[bits]] * len(values)
    assert (lo, hi) == (0.0, 0.0)


def test_negative_zero_is_never_reported() -> None:
    _, lo, hi = quantize(np.array([-0.0, -1], np.float32), 8)
    assert lo == -1
    assert not np.signbit(hi)


@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "f2", "i8", "u1", "?"])
def test_anything_real_becomes_little_endian_float32(dtype: Any) -> None:
    values = as_float32(np.array([0, 1], dtype))
    assert values.dtype == np.dtype("<f4")
    assert values.tolist() == [0, 1]


def test_beyond_float32_is_infinite_and_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = as_float32(np.array([1e300, -1e39, 1.0]))
        codes, lo, hi = quantize(values, 8)
    assert values.tolist() == [np.inf, -np.inf, 1]
    assert (codes.tolist(), lo, hi) == ([255, 255, 0], 1.0, 1.0)
