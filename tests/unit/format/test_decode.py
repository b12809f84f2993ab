"""A gzip member is read whole or not at all."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.format.decode import DamageError, plain_bytes


@given(st.binary(max_size=300), st.integers(0, 20), st.binary(max_size=4))
def test_a_member_is_read_whole_or_not_at_all(data: bytes, cut: int, more: bytes) -> None:
    whole = gzip.compress(data, mtime=0)
    assert plain_bytes(whole, len(data), compressed=True) == data
    for wrong, size in (
        (whole[: -cut - 1], len(data)),
        (whole + more + b"x", len(data)),
        (whole + whole, len(data)),
        (whole, len(data) + 1),
        (whole, len(data) - 1) if data else (b"", 0),
    ):
        with pytest.raises(DamageError):
            plain_bytes(wrong, size, compressed=True)
