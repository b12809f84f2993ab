"""Trying again what may succeed: with longer and longer pauses, and for a minute at most."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from cellucid_dask.store.failures import Failure, failure_of

T = TypeVar("T")
_TRIES = 6
_LONGEST = 60.0  # seconds after which nothing is tried again


def pauses() -> Iterator[float]:
    """Yield the seconds to wait after each failure: about 0.4, 1.2, 3.6, 11 and 32.

    Jitter keeps many tasks that failed together from coming back together.
    """
    began = time.monotonic()
    for attempt in range(_TRIES - 1):
        if time.monotonic() - began > _LONGEST:
            return
        yield 0.4 * 3**attempt * random.uniform(0.5, 1.5)  # noqa: S311  no secret


def with_retries(call: Callable[[], T]) -> T:
    """Call until it succeeds, fails for good, or has failed too often."""
    waits = pauses()
    while True:
        try:
            return call()
        except Exception as error:
            pause = next(waits, None) if failure_of(error) is Failure.TRANSIENT else None
            if pause is None:
                raise
        time.sleep(pause)


async def retried_async(call: Callable[[], Awaitable[T]]) -> T:
    """Call and await as `with_retries` does, without holding up others."""
    waits = pauses()
    while True:
        try:
            return await call()
        except Exception as error:
            pause = next(waits, None) if failure_of(error) is Failure.TRANSIENT else None
            if pause is None:
                raise
        await asyncio.sleep(pause)
