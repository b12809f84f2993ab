"""The exceptions and the warning of this package.

Messages name options as on the command line: ``--force``, ``--layer=raw``. Who called from Python
reads ``force=True`` and ``layer="raw"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cellucid_dask.display import printable

# How each flag is written in Python, ``force=True`` or ``layer={}``; `request.options` knows them.
IN_PYTHON: dict[str, str] = {}
_FLAG = re.compile(
    r"(--[a-z][a-z-]*)(?:=([^\s,;)]*[^\s,;).])|[ ]([A-Z]+(?::0,1)?|log1p-cp10k|none|\d+)\b(?!,\w))?"
)
_in_shell: ContextVar[bool] = ContextVar("in_shell", default=False)


@contextmanager
def told_in_shell() -> Iterator[None]:
    """Within the block, messages are for the command line."""
    token = _in_shell.set(True)
    try:
        yield
    finally:
        _in_shell.reset(token)


def phrase(text: str) -> str:
    """Return a message with its options as its reader writes them."""
    return text if _in_shell.get() else _FLAG.sub(_in_python, text)


def _in_python(match: re.Match[str]) -> str:
    flag, attached, apart = match.groups()
    written = IN_PYTHON.get(flag)
    if written is None:
        return match[0]
    value = attached or apart
    if "{}" not in written:
        return f"{written} {value}" if value else written
    if not value:
        return written.partition("=")[0]
    is_number = value.isdecimal()
    return written.format("None" if value == "none" else value if is_number else f'"{value}"')


class _Said(Exception):  # noqa: N818  a part of the classes below
    """A message with names in it that may be a stranger's."""

    def __str__(self) -> str:
        """Return the message as it may be shown on a terminal."""
        return phrase(printable(super().__str__()))


class RequestError(_Said, ValueError):
    """The request is invalid. Nothing was written, and the message says what to change."""


class ExportError(_Said, RuntimeError):
    """The work failed. The target contains nothing that looks like a complete export."""


class ExportWarning(_Said, UserWarning):
    """The export continues, but you should check the result."""
