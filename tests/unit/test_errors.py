"""What is said has no control characters, whoever chose the names in it."""

from __future__ import annotations

import pickle

import pytest

from cellucid_dask import ExportError, ExportWarning, RequestError
from cellucid_dask.display import table


@pytest.mark.parametrize("kind", [ExportError, ExportWarning, RequestError])
@pytest.mark.parametrize("name", ["\x1b[2J", "a\rb", "\u202egnp", "\x9b31m", "\ud800", "\0", "\b"])
def test_messages(kind: type[Exception], name: str) -> None:
    error = kind(f"There is no gene {name}.")
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert "\ufffd" in str(each)
        assert str(each).isprintable()
    assert str(kind("Łung µ 日本 😀.")) == "Łung µ 日本 😀."


def test_tables() -> None:
    shown = table("\x1b[2J", [("\u202e", "<b>"), ("a", "\x9b")])
    assert shown.isprintable()
    assert "<b>" not in shown
