"""JSON documents that may be a stranger's: their size and depth are bounded before they are used.

What a document takes as Python objects is many times its size; more than the bounds below no
export needs.
"""

from __future__ import annotations

import json
from typing import NoReturn

from cellucid_dask.types import Json

_MAX_DEPTH = 32
# An export of 800,000 genes takes as much.
MAX_MEMORY = 300 * 2**20
_VALUE_BYTES = 64  # of a list, a number or a short text, for each sign that separates values


class DocumentError(ValueError):
    """A document cannot be parsed; the message is a predicate of its name."""


def memory_of(data: bytes) -> int:
    """Return an upper bound of the memory that a document takes as Python objects."""
    n_values = sum(data.count(sign) for sign in (b",", b":", b"[", b"{"))
    # one wide character makes Python store a whole text in four bytes each
    wide = not data.isascii() and any(bytes([lead]) in data for lead in range(0xF0, 0xF5))
    width = 4 if wide else 1 if data.isascii() else 2
    return len(data) * (1 + 2 * width) + n_values * _VALUE_BYTES


def parse_json(data: bytes, max_memory: int = MAX_MEMORY, *, allow_nan: bool = False) -> Json:
    """Parse a document as strictly as a browser does, or with NaN and Infinity.

    Raises
    ------
    DocumentError
        It is not a JSON object, too large or too deep.
    """
    if memory_of(data) > max_memory:
        raise DocumentError("is too large")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=None if allow_nan else _refuse)
    except (ValueError, RecursionError):
        raise DocumentError("is not JSON") from None
    if not isinstance(document, dict):
        raise DocumentError("is not a JSON object")
    level: list[Json | list[object]] = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            value
            for each in level
            for value in (each.values() if isinstance(each, dict) else each)
            if isinstance(value, dict | list)
        ]
    if level:
        raise DocumentError("is too deep")
    return document


def _refuse(token: str) -> NoReturn:
    raise ValueError(token)
