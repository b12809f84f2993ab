"""The edges of a graph are the same however its matrix is cut."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellucid_dask.encode.edges import cut, edge_keys, edge_range, join_keys, segments
from tests.graphs import edges_of, graphs

MANY = settings(max_examples=100)


def cuts(draw: st.DrawFn, n_cells: int) -> list[int]:
    return sorted({0, n_cells, *draw(st.lists(st.integers(0, n_cells), max_size=4))})


@MANY
@given(data=st.data())
def test_any_blocks_hold_the_same_edges(data: st.DataObject) -> None:
    matrix = data.draw(graphs())
    n_cells = matrix.shape[0]
    rows, columns = cuts(data.draw, n_cells), cuts(data.draw, n_cells)
    kind = data.draw(st.sampled_from(["csr", "csc", "coo", "dense"]))
    keys = []
    for (top, bottom), (left, right) in itertools.product(
        itertools.pairwise(rows), itertools.pairwise(columns)
    ):
        region = matrix[top:bottom, left:right]
        block = region.toarray() if kind == "dense" else region.asformat(kind)
        keys.append(edge_keys(block, top, left))

    found = join_keys(keys)

    sources, destinations, _ = edges_of(matrix)
    np.testing.assert_array_equal(found >> np.uint64(32), sources)
    np.testing.assert_array_equal(found & np.uint64(2**32 - 1), destinations)


def test_segments_depend_on_the_cells_alone() -> None:
    assert segments(3).tolist() == [0, 3]
    assert segments(2500).tolist() == [0, 1024, 2048, 2500]
    assert len(segments(10**8)) <= 4098
    assert segments(10**8)[-1] == 10**8


@MANY
@given(matrix=graphs())
def test_an_encoded_range_counts_neighbors(matrix: Any) -> None:
    keys, n_cells = edge_keys(matrix, 0, 0), matrix.shape[0]
    bounds = np.array([0, n_cells // 2, n_cells])
    assert cut(keys, bounds)[-1] == len(keys)
    total = np.zeros(n_cells, np.int64)

    edge_range(keys, bounds, np.dtype("<u2"), 6).count_neighbors(total)

    sources, destinations, _ = edges_of(matrix)
    counted = np.bincount(np.concatenate([sources, destinations]), minlength=n_cells)
    np.testing.assert_array_equal(total, counted)
