"""JSON of a stranger: what is too large, too deep or no object is refused before it is used."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellucid_dask.store.document import DocumentError, memory_of, parse_json


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a":NaN}', "is not JSON"),
        (b'{"a":-Infinity}', "is not JSON"),
        (b'{"a":"\xff"}', "is not JSON"),
        (b"[" * 10**6, "is not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "is too deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "is too deep"),
        (b'{"a":[' + b"[]," * 3_000_000 + b"[]]}", "is too large"),
        (b'{"a":"' + b"a" * (36 << 20) + '\N{PILE OF POO}"}'.encode(), "is too large"),
    ],
)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(DocumentError, match=f"^{why}$"):
        parse_json(data)


_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), _VALUES))
def test_what_was_written_is_read(document: dict[str, Any]) -> None:
    for ascii_only in (True, False):
        text = json.dumps(document, allow_nan=True, ensure_ascii=ascii_only)
        try:
            data = text.encode()
        except UnicodeEncodeError:  # half of a pair
            continue
        if "Infinity" not in text:
            assert parse_json(data) == document


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":[' + b"[]," * 20_000 + b"[]]}",
        b'{"a":[' + b"{}," * 20_000 + b"[]]}",
        b'{"a":[' + b'"ab",' * 20_000 + b"[]]}",
        b'{"a":[' + b"1.5," * 20_000 + b"[]]}",
        b"{" + b",".join(b'"k%06d":1' % i for i in range(20_000)) + b"}",
        b'{"a":[' + b'{"b":1},' * 20_000 + b"[]]}",
        b'{"a":"' + b"a" * 200_000 + '\N{PILE OF POO}"}'.encode(),
        b'{"a":"' + b"a" * 200_000 + '\N{GREEK SMALL LETTER MU}"}'.encode(),
        b'{"a":[' + b'["GENE1234",0,6.25],' * 10_000 + b"[]]}",
    ],
)
def test_memory_is_bounded(data: bytes) -> None:
    tracemalloc.start()
    parse_json(data)
    peak = tracemalloc.get_traced_memory()[1] + len(data)
    tracemalloc.stop()
    assert peak < 1.3 * memory_of(data)
