"""Lists of names that were cut at commas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.request.pieces import rejoined

NAMES = st.text("ab, ", min_size=1, max_size=6).filter(lambda text: text == text.strip())


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("c,d", {"c,d"}, ["c,d"]),
        ("c,d", {"c", "d", "c,d"}, ["c", "d"]),
        ("G2, G3", {"G2", "G3"}, ["G2", "G3"]),
        ("x, y,z", {"x, y", "z"}, ["x, y", "z"]),
        ("no,c,d", {"c,d"}, ["no", "c,d"]),
        (" a", {" a", "a"}, [" a"]),
    ],
)
def test_names(text: str, known: set[str], expected: list[str]) -> None:
    assert rejoined(text.split(","), known) == expected


@given(st.lists(NAMES, max_size=8))
def test_known_names_stay_as_they_are(names: list[str]) -> None:
    assert rejoined(names, set(names)) == names
