"""Sizes and times as they are written."""

from __future__ import annotations

from cellucid_dask.errors import RequestError


def quantity(option: str, value: float | str, what: str) -> float:
    """Read a size or a time as Dask writes it, ``"2 GB"`` or ``"90s"``, or a number.

    Parameters
    ----------
    option
        Its name, ``"memory_budget"`` or ``"timeout"``.
    value
        What was given.
    what
        How it is written, for the error.

    Raises
    ------
    RequestError
        It is no size or time above zero.
    """
    from dask import utils  # noqa: PLC0415  slow to import; --help does not need it

    parse = utils.parse_bytes if option == "memory_budget" else utils.parse_timedelta
    text = str(value).strip()
    try:
        number = float(parse(text)) if text[:1].isdigit() else 0.0  # Dask takes "GB" for one
    except (ValueError, KeyError, OverflowError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise RequestError(f"{option} is {value!r}: write {what}.")
    return number
