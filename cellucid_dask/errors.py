"""The exceptions and the warning of this package."""

from __future__ import annotations

from cellucid_dask.display import printable


class _Said(Exception):  # noqa: N818  a part of the classes below
    """A message with names in it that may be a stranger's."""

    def __str__(self) -> str:
        """Return the message as it may be shown on a terminal."""
        return printable(super().__str__())


class RequestError(_Said, ValueError):
    """The request is invalid. Nothing was written, and the message says what to change."""


class ExportError(_Said, RuntimeError):
    """The work failed. The target contains nothing that looks like a complete export."""


class ExportWarning(_Said, UserWarning):
    """The export continues, but you should check the result."""
