"""Many objects written at once, where a store's calls do not block."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Self

from cellucid_dask.errors import ExportError
from cellucid_dask.store.client import Asked, Client
from cellucid_dask.store.coroutines import patiently
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.retry import limit_of
from cellucid_dask.store.transfer import call

# Objects for which the event loop is woken once: waking it costs as much as writing one.
_TOGETHER = 16


class _Object(NamedTuple):
    path: str
    data: bytes
    content_type: str
    cost: int


class Uploads:
    """Concurrent writes to a store, bounded in number and bytes.

    Leaving the context waits for all of them, or raises the first failure. Each object
    is retried by itself. `put` blocks while too much is under way.

    Of a run that has a lease, objects are created. They are replaced if they are what they were
    when the run was asked last whether it still has it, where the store can tell: what arrives late
    because the run was paused replaces nothing.

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
        self._waiting: list[_Object] = []  # for the event loop
        self._tasks: set[asyncio.Task[None]] = set()  # touched in the loop only
        self._under_way = self._bytes_under_way = 0
        self._error: BaseException | None = None

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Begin to write an object."""
        client = self._client
        if client.loop is None:
            call(client, lambda: self._write(path, data, content_type))
            return
        new = _Object(path, data, content_type, max(len(data), self._min_cost))
        with self._changed:
            self._wait(lambda: self._bytes_under_way + new.cost <= self._max_bytes)
            self._raise()
            self._under_way += 1
            self._bytes_under_way += new.cost
            self._waiting.append(new)
            if len(self._waiting) == _TOGETHER:
                client.loop.call_soon_threadsafe(self._start)

    def _wait(self, is_so: Callable[[], bool]) -> None:
        """Wait for room, for the end of all writes, or for the first failure."""
        if self._waiting and self._client.loop is not None and not is_so():
            self._client.loop.call_soon_threadsafe(self._start)
        self._changed.wait_for(lambda: self._error or not self._under_way or is_so())

    def _start(self) -> None:
        """Begin to write what waits (in the loop)."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
        for each in waiting:
            write = partial(self._write, each.path, each.data, each.content_type)
            limit = limit_of(self._max_bytes + len(each.data))  # all share one line
            task = asyncio.create_task(patiently(self._client, write, limit))
            task.add_done_callback(partial(self._done, each.cost))
            self._tasks.add(task)

    async def _write(self, path: str, data: bytes, content_type: str) -> None:
        if (asked := self._asked) is not None:
            if asked.is_due():
                await self._ask(asked)
            try:
                if await self._create_or_replace(path, data, content_type, asked):
                    return
            except ExportError:
                raise
            except Exception as error:  # the store knows no conditions
                if failure_of(error) is not Failure.OTHER:
                    raise
            await self._ask(asked)
        await self._client.put(path, data, content_type)

    async def _create_or_replace(
        self, path: str, data: bytes, content_type: str, asked: Asked
    ) -> bool:
        """Write an object on a condition; say whether the store understands such."""
        client = self._client
        with suppress(FileExistsError):
            await client.create(path, data, content_type)
            return True
        with suppress(FileExistsError, FileNotFoundError):
            seen = await client.version(path)
            await self._ask(asked)
            for version in _spellings(seen):
                with suppress(FileExistsError):
                    await client.replace(path, data, content_type, version)
                    return True
                if await client.version(path) != seen:
                    break
            else:
                return False
        raise OSError(errno.EBUSY, "somebody else writes it too", path)  # tried, and asked, again

    async def _ask(self, asked: Asked) -> None:
        if self._client.loop is None:
            asked.ask()
        else:  # not in the loop that the answer is awaited in
            await asyncio.to_thread(asked.ask)

    def _done(self, cost: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._changed:
            self._under_way -= 1
            self._bytes_under_way -= cost
            if not task.cancelled() and self._error is None:
                self._error = task.exception()
            self._changed.notify_all()

    def _cancel(self) -> None:
        """Give up what is under way (in the loop)."""
        with self._changed:
            self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        succeeded = raised == (None, None, None)
        if succeeded:
            with self._changed:
                self._wait(lambda: not self._under_way)
        if self._under_way and self._client.loop is not None:  # only where something failed
            self._client.loop.call_soon_threadsafe(self._cancel)
        if succeeded:
            self._raise()


def _spellings(version: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield a version with its tag as HTTP writes it, and as Ceph wants it."""
    yield version
    if tag := version.get("e_tag"):
        yield {**version, "e_tag": tag.strip('"')}
