"""A file that is compressed block by block."""

from __future__ import annotations

import io
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellucid_dask.encode.gzip_blocks import GzipWriter, compress_blocks
from tests.viewer_reader import gunzip

MANY = settings(max_examples=100)


@MANY
@given(
    cells=st.lists(st.integers(0, 2**16 - 1), max_size=200),
    ends=st.lists(st.integers(0, 200), max_size=6),
    groups=st.lists(st.integers(0, 6), max_size=3),
    level=st.sampled_from([None, 1, 6, 9]),
)
def test_pieces_join_to_one_member(
    cells: list[int], ends: list[int], groups: list[int], level: int | None
) -> None:
    vector = np.array(cells, "<u2")
    fresh = sorted({0, len(vector), *(end for end in ends if end < len(vector))})
    whole, apart = io.BytesIO(), io.BytesIO()
    writer = GzipWriter(whole, level)
    writer.add(compress_blocks(vector, fresh, level))
    writer.finish()
    writer = GzipWriter(apart, level)
    shared = sorted({0, len(fresh) - 1, *(each for each in groups if each < len(fresh))})
    for first, last in itertools.pairwise(shared):
        bounds = np.array(fresh[first : last + 1])
        writer.add(compress_blocks(vector[bounds[0] : bounds[-1]], bounds - bounds[0], level))
    writer.finish()

    assert apart.getvalue() == whole.getvalue()
    assert writer.nbytes == len(whole.getvalue())
    plain = whole.getvalue() if level is None else gunzip(whole.getvalue())
    assert plain == vector.tobytes()
