"""Calls of a store's client: bounded, repeated, and many reads at once where they do not block."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from cellucid_dask.store.client import Client
from cellucid_dask.store.retry import PATIENCE, limit_of, with_retries

_BATCH = 1000  # objects that are removed by one call

T = TypeVar("T")


def call(client: Client, ask: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T:
    """Ask a store, for a limited time where it can be interrupted.

    Parameters
    ----------
    client
        Of the store.
    ask
        Calls a method of the client, again after each failure that may pass.
    seconds
        How long.

    Raises
    ------
    TimeoutError
        It took longer.
    """
    if client.loop is None:
        return with_retries(lambda: _finished(ask()))
    from cellucid_dask.store import coroutines  # noqa: PLC0415  slow to import

    return coroutines.wait(client, lambda: coroutines.patiently(client, ask, seconds))


def _finished(awaitable: Awaitable[T]) -> T:
    """Run a coroutine that blocks where another would wait."""
    coroutine = cast("Coroutine[Any, Any, T]", awaitable)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("a call that blocks does not wait")


def delete(client: Client, paths: Sequence[str]) -> None:
    """Remove objects, as far as they exist, many by one request where the store can."""
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        call(client, partial(client.delete, batch))


Range = tuple[str, int, int]  # a path, the first byte, and the byte after the last
_NEAR, _LARGE = 2**16, 8 * 2**20  # bytes: gaps that are read too, and the most of one request
_MUCH = 2**26  # bytes: where more is asked for, files are read whole, and are smaller


def fetch_ranges(
    client: Client,
    ranges: Sequence[Range],
    sleep: Callable[[float], None] = time.sleep,
) -> list[Any]:
    """Read byte ranges side by side where the store can, and neighbors by one request.

    Transient failures are retried; of each range its bytes come back, fewer where the object ends
    before it, or its last error.
    """
    found: list[Any] = [b""] * len(ranges)
    spans = coalesced(ranges)

    def ask(path: str, start: int, stop: int) -> Callable[[], Awaitable[Any]]:
        return lambda: client.get(path, start, stop)

    if client.loop is None:
        answers = [_try(ask(*span), sleep) for span in spans]
    else:
        from cellucid_dask.store import coroutines  # noqa: PLC0415  slow to import

        asks = [(ask(*span), limit_of(min(span[2] - span[1], _MUCH))) for span in spans]
        answers = coroutines.wait(client, lambda: coroutines.all_of(client, asks))
    for (_, first, _), answer, members in zip(spans, answers, spans.values(), strict=True):
        for number in members:
            _, start, stop = ranges[number]
            whole = isinstance(answer, Exception) or (first, len(members)) == (start, 1)
            found[number] = answer if whole else memoryview(answer)[start - first : stop - first]
    return found


def coalesced(ranges: Sequence[Range]) -> dict[Range, list[int]]:
    """Return few spans of bytes that cover all ranges, and the numbers of the ranges in each."""
    spans: dict[Range, list[int]] = {}
    open_span: list[Any] = []
    members: list[int] = []
    for number in sorted(range(len(ranges)), key=lambda number: ranges[number]):
        path, start, stop = ranges[number]
        if start >= stop:
            continue
        if (
            open_span
            and open_span[0] == path
            and start <= open_span[2] + _NEAR
            and max(stop, open_span[2]) - open_span[1] <= _LARGE
        ):
            open_span[2] = max(stop, open_span[2])
            members.append(number)
            continue
        if members:
            spans[tuple(open_span)] = members
        open_span, members = [path, start, stop], [number]
    if members:
        spans[tuple(open_span)] = members
    return spans


def _try(ask: Callable[[], Awaitable[Any]], sleep: Callable[[float], None]) -> Any:
    try:
        return with_retries(lambda: _finished(ask()), sleep)
    except Exception as error:  # noqa: BLE001  stores raise errors of their own
        return error


def content_type(name: str) -> str:
    """Return the media type of a file; a ``.gz`` is gzip itself, not an encoding of something.

    Objects get no content encoding: the viewer inflates ``.gz`` itself, which would fail on what
    the browser had inflated already.
    """
    known = {
        ".gz": "application/gzip", ".json": "application/json", ".html": "text/html; charset=utf-8",
        ".css": "text/css", ".js": "text/javascript",
    }  # fmt: skip
    return known.get(name[name.rfind(".") :], "application/octet-stream")
