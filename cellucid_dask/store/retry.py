"""Retries of transient failures: with growing pauses, for about a minute in all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from cellucid_dask.store.failures import Failure, failure_of

T = TypeVar("T")


def pauses(max_tries: int = 6, max_seconds: float = 60.0) -> Iterator[float]:
    """Yield the seconds to wait after each failure: about 0.4, 1.2, 3.6, 11 and 32.

    Jitter keeps many tasks that failed together from coming back together. No try begins
    more than `max_seconds` and one pause after the first.
    """
    began = time.monotonic()
    for attempt in range(max_tries - 1):
        if time.monotonic() - began > max_seconds:
            return
        yield 0.4 * 3**attempt * random.uniform(0.5, 1.5)  # noqa: S311  no secret


def with_retries(call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Call until it succeeds, fails for good, or has failed too often; `sleep` is for tests."""
    waits = pauses()
    while True:
        try:
            return call()
        except Exception as error:
            pause = next(waits, None) if failure_of(error) is Failure.TRANSIENT else None
            if pause is None:
                raise
        sleep(pause)


async def with_retries_async(call: Callable[[], Awaitable[T]]) -> T:
    """Call and await as `with_retries` does, without blocking the event loop."""
    waits = pauses()
    while True:
        try:
            return await call()
        except Exception as error:
            pause = next(waits, None) if failure_of(error) is Failure.TRANSIENT else None
            if pause is None:
                raise
        await asyncio.sleep(pause)
