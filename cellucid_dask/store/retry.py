"""Retries of transient failures, with growing pauses and an end.

Nothing that is asked of a store takes longer than `PATIENCE` and what its bytes need on a slow
line, whatever the store's own client does meanwhile.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from cellucid_dask.store.failures import Failure, failure_of

PATIENCE = 60.0  # seconds
TRIES = 6
_SLOW = 2**18  # bytes a second

T = TypeVar("T")


def limit_of(nbytes: int) -> float:
    """Return the seconds that a call may take which transfers so many bytes."""
    return PATIENCE + nbytes / _SLOW


def pauses(max_tries: int = TRIES, max_seconds: float = PATIENCE) -> Iterator[float]:
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
