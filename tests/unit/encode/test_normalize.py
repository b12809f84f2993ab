"""Totals of cells are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.encode.normalize import row_totals


@given(
    values=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=50),
    random=st.randoms(use_true_random=False),
)
def test_totals_do_not_depend_on_the_order(values: list[float], random: Any) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)
    cut = len(values) // 2
    whole = row_totals(np.array([values]))
    tiles = row_totals(np.array([shuffled[:cut]])) + row_totals(np.array([shuffled[cut:]]))
    assert whole == tiles
    np.testing.assert_allclose(whole, sum(values), rtol=1e-9, atol=len(values) * 2**-25)
