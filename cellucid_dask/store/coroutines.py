"""The coroutines that ask a store whose calls do not block, in its event loop.

A local disk needs none of this, and no asyncio, which is slow to import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from fsspec.asyn import sync

from cellucid_dask.store.client import Client
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.retry import PATIENCE, TRIES, pauses
from cellucid_dask.store.transfer import call

_AFTERWARDS = 5.0  # seconds, of a store that was given up
_AT_ONCE = 32  # requests

T = TypeVar("T")


def wait(client: Client, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in the loop of a client, and return its result."""
    result: T = sync(client.loop, begin)
    return result


async def patiently(client: Client, ask: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Ask a store again and again for so many seconds; only once if it was given up before.

    An export that ends because its store does not answer still looks for its lease, and gives it
    back: each would wait as long again.
    """
    seconds, tries = (min(seconds, _AFTERWARDS), 1) if client.gave_up else (seconds, TRIES)
    try:
        answer = await with_retries_async(ask, seconds, tries)
    except Exception as error:
        client.gave_up = failure_of(error) is Failure.TRANSIENT
        raise
    client.gave_up = False
    return answer


async def ask_from_anywhere(client: Client, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a store as `call` does, from a coroutine of any other event loop."""
    if client.loop is None:
        return await asyncio.to_thread(call, client, ask)
    future = asyncio.run_coroutine_threadsafe(patiently(client, ask, PATIENCE), client.loop)
    return await asyncio.wrap_future(future)


async def all_of(
    client: Client, asks: Sequence[tuple[Callable[[], Awaitable[Any]], float]]
) -> list[Any]:
    """Ask many times side by side; return the answers, and of what failed the error."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(ask: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        async with slots:
            return await patiently(client, ask, seconds)

    return await asyncio.gather(*(one(*each) for each in asks), return_exceptions=True)


async def with_retries_async(
    call: Callable[[], Awaitable[T]], seconds: float = PATIENCE, max_tries: int = TRIES
) -> T:
    """Call and await as `with_retries` does, for so many seconds, without blocking the event loop.

    Raises
    ------
    TimeoutError
        It took longer; or the error of the last try, if one had ended.
    """
    waits = pauses(max_tries)
    last: Exception | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await call()
                except Exception as error:
                    last = error
                    pause = next(waits, None) if failure_of(error) is Failure.TRANSIENT else None
                    if pause is None:
                        raise
                await asyncio.sleep(pause)
    except TimeoutError:
        if last is None:
            raise TimeoutError(f"no answer in {seconds:.0f} seconds") from None
        raise last from last.__cause__
