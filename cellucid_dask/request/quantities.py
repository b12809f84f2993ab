"""Sizes, times and dates as they are written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def size(value: float | str) -> int | None:
    """Read a size as Dask writes it, ``"2 GB"``, or a number of bytes; ``None`` if it is none."""
    from dask.utils import parse_bytes  # noqa: PLC0415  slow to import; --help does not need it

    number = _above_zero(value, parse_bytes)
    return None if number is None else int(number)


def seconds(value: float | str) -> float | None:
    """Read a time as Dask writes it, ``"90s"``, or a number of seconds; ``None`` if it is none."""
    from dask.utils import parse_timedelta  # noqa: PLC0415

    return _above_zero(value, parse_timedelta)


def _above_zero(value: float | str, parse: Any) -> float | None:
    text = str(value).strip()
    try:
        number = float(parse(text)) if text[:1].isdigit() else 0.0  # Dask takes "GB" for one
    except (ValueError, KeyError, OverflowError):
        return None
    return number if 0 < number < float("inf") else None


def time_stamp(value: str | None) -> str | None:
    """Check a time in UTC, by default the current one; ``None`` if it is none."""
    if value is None:
        return datetime.now(UTC).strftime(_TIME)
    try:
        return datetime.strptime(value, _TIME).strftime(_TIME)  # noqa: DTZ007  Z is UTC
    except (TypeError, ValueError):
        return None
