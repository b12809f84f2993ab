"""The counts of a tile's values are those that looking at each value gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cellucid_dask.encode.counts import Counting, GeneCounts
from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile

ODD = [0.0, -0.0, 1.0, -2.0, 0.5, 2.0**25, -(2.0**25), np.nan, np.inf, -np.inf]
Values = np.ndarray[Any, np.dtype[Any]]


def sparse(values: Values) -> SparseTile:
    """Return a tile that stores all values of a table, zeros too."""
    n_genes, n_cells = values.shape
    cells = np.tile(np.arange(n_cells, dtype=np.uint16), n_genes)
    return SparseTile(0, n_cells, np.arange(n_genes + 1) * n_cells, cells, values.reshape(-1))


def expected(values: Values) -> GeneCounts:
    whole = [float(each) for each in values.reshape(-1) if np.isfinite(each)]
    is_float = values.dtype.kind == "f"
    return GeneCounts(
        np.array([sum(each != 0 for each in gene) for gene in values.tolist()]),
        np.array([sum(not np.isfinite(each) for each in gene) for gene in values.tolist()]),
        max(map(abs, whole), default=0.0) if is_float else 0.0,
        all(each.is_integer() for each in whole) if is_float else True,
    )


@given(
    st.sampled_from(["f4", "f8"]).flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
            elements=st.sampled_from(ODD),
        )
    )
    | arrays.arrays("u1", (3, 4))
    | arrays.arrays("?", (2, 5)),
    st.sampled_from([sparse, lambda values: DenseTile(0, values)]),
)
@example(np.array([[1.0, 2.0], [3.0, 0.5]], "f4"), sparse)  # nothing is zero
@example(np.array([[-1.0, -7.0]], "f4"), sparse)
@example(np.full((1, 2), np.nan, "f4"), sparse)
@example(np.zeros((3, 0), "f4"), sparse)
@example(np.zeros((3, 0), "f4"), lambda values: DenseTile(0, values))
def test_counts(values: Values, make: Any) -> None:
    tile: Tile = make(values)
    counting = Counting(len(values))
    assert list(counting([tile, tile])) == [tile, tile]
    for found, times in (GeneCounts.of(tile), 1), (counting.counts, 2):
        single = expected(values)
        np.testing.assert_array_equal(found.n_values, times * single.n_values)
        np.testing.assert_array_equal(found.n_bad, times * single.n_bad)
        assert (found.largest, found.whole) == single[2:]
