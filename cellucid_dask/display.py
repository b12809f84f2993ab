"""How results read: short lists in messages, tables in notebooks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy.typing as npt


def first_few(names: Sequence[object] | npt.NDArray[Any], limit: int = 5) -> str:
    """Return the first names of a list, separated by commas: ``"a, b, ..."``."""
    text = ", ".join(map(str, names[:limit]))
    return f"{text}, ..." if len(names) > limit else text


def abbreviated(name: str, limit: int = 40) -> str:
    """Return a name for messages; of a long one only the start, and how long it is."""
    return name if len(name) <= limit else f"{name[:limit]}... of {len(name):,} characters"


def printable(text: object, kept: str = "\n\t") -> str:
    """Return text for a terminal: control characters of names could move its cursor, or worse."""
    return "".join(c if c.isprintable() or c in kept else "\ufffd" for c in str(text))


def say(text: object, stream: TextIO) -> None:
    """Write to a stream of the terminal; nothing is lost if its reader, such as `head`, is gone."""
    try:
        stream.write(str(text))
        stream.flush()
    except BrokenPipeError:  # later output, and that at exit, goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a small table of names and values; everything in it is escaped."""
    body = "".join(
        f'<tr><th style="text-align:left">{escape(printable(name))}</th>'
        f'<td style="text-align:left">{escape(printable(value))}</td></tr>'
        for name, value in rows
    )
    head = f'<caption style="text-align:left;font-weight:bold">{escape(printable(title))}</caption>'
    return f"<table>{head}<tbody>{body}</tbody></table>"
