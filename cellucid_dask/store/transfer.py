"""Calls of a store's client: bounded, repeated, and many at once where they do not block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar, cast

from fsspec.asyn import sync

from cellucid_dask.store.client import Client
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.retry import PATIENCE, limit_of, with_retries, with_retries_async

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
    result: T = sync(client.loop, with_retries_async, ask, seconds)
    return result


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


async def ask_from_anywhere(client: Client, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a store as `call` does, from a coroutine of any other event loop."""
    if client.loop is None:
        return await asyncio.to_thread(call, client, ask)
    future = asyncio.run_coroutine_threadsafe(with_retries_async(ask), client.loop)
    return await asyncio.wrap_future(future)


@dataclass(frozen=True)
class Asked:
    """What knows whether objects may be written yet, see `Target.fence`.

    Attributes
    ----------
    is_due
        Whether its last answer is too old.
    ask
        Raises if nothing may be written any more.
    """

    is_due: Callable[[], bool]
    ask: Callable[[], None]


class Uploads:
    """Concurrent writes to a store, bounded in number and bytes.

    Leaving the context waits for all of them, or raises the first failure. Each object
    is retried by itself. `put` blocks while too much is under way.

    Of a run that has a lease, objects are created, and replaced only right after it was asked
    whether it still has it: what arrives late because the run was paused replaces nothing.

    Parameters
    ----------
    client
        Of the store; with one that blocks, objects are written one after the other.
    asked
        Before every try; ``None`` if no run has a lease.
    max_bytes, max_objects
        Limits of what is under way at once.
    """

    def __init__(
        self,
        client: Client,
        asked: Asked | None = None,
        max_bytes: int = 8 * 2**20,
        max_objects: int = 128,
    ) -> None:
        self._client, self._asked = client, asked
        self._max_bytes = max_bytes
        self._min_cost = max_bytes // max_objects  # small objects count for more than their bytes
        self._changed = threading.Condition()
        self._under_way: dict[Future[Any], int] = {}
        self._bytes_under_way = 0
        self._error: BaseException | None = None

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Begin to write an object."""
        client = self._client
        if client.loop is None:
            call(client, lambda: self._write(path, data, content_type))
            return
        cost = max(len(data), self._min_cost)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._error
                    or not self._under_way
                    or self._bytes_under_way + cost <= self._max_bytes
                )
            )
            self._raise()
            future = asyncio.run_coroutine_threadsafe(
                with_retries_async(
                    lambda: self._write(path, data, content_type),
                    limit_of(self._max_bytes + len(data)),  # all share one line
                ),
                client.loop,
            )
            self._under_way[future] = cost
            self._bytes_under_way += cost
        future.add_done_callback(self._done)

    async def _write(self, path: str, data: bytes, content_type: str) -> None:
        if self._asked is not None:
            if self._asked.is_due():
                await self._ask(self._asked)
            try:
                await self._client.create(path, data, content_type)
            except Exception as error:  # it exists, or the store knows no conditions
                if failure_of(error) is not Failure.OTHER:
                    raise
            else:
                return
            await self._ask(self._asked)
        await self._client.put(path, data, content_type)

    async def _ask(self, asked: Asked) -> None:
        if self._client.loop is None:
            asked.ask()
        else:  # not in the loop that the answer is awaited in
            await asyncio.to_thread(asked.ask)

    def _done(self, future: Future[Any]) -> None:
        with self._changed:
            self._bytes_under_way -= self._under_way.pop(future, 0)
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        succeeded = raised == (None, None, None)
        if succeeded:
            with self._changed:
                self._changed.wait_for(lambda: self._error or not self._under_way)
        with self._changed:
            left = list(self._under_way)  # empty unless something failed
        for future in left:
            future.cancel()
        if succeeded:
            self._raise()


Range = tuple[str, int, int]  # a path, the first byte, and the byte after the last
_NEAR, _LARGE = 2**16, 8 * 2**20  # bytes: gaps that are read too, and the most of one request
_AT_ONCE = 32  # requests
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
        asks = [(ask(*span), limit_of(min(span[2] - span[1], _MUCH))) for span in spans]
        answers = sync(client.loop, _all_of, asks)
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


async def _all_of(asks: Sequence[tuple[Callable[[], Awaitable[Any]], float]]) -> list[Any]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(ask: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        async with slots:
            return await with_retries_async(ask, seconds)

    return await asyncio.gather(*(one(*each) for each in asks), return_exceptions=True)


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
