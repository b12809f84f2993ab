"""Many objects at once: to a store whose calls are asynchronous, or one after the other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Self

from fsspec.asyn import sync

from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.retry import pauses, retried_async, with_retries

# What may be on its way at once, of one writer.
_BYTES = 8 * 2**20
_OBJECTS = 128


def is_async(fs: Any) -> bool:
    """Whether many calls of a file system can be under way at once."""
    return bool(getattr(fs, "async_impl", False)) and hasattr(fs, "_pipe_file")


def with_timeout(fs: Any, seconds: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """Await a call of an asynchronous file system for a limited time.

    Raises
    ------
    TimeoutError
        It took longer.
    """
    return sync(fs.loop, asyncio.wait_for, retried_async(call), seconds)


class Uploads:
    """Objects on their way to a store: a bounded number of them, and of their bytes.

    Leaving the context waits for all of them, or raises the first failure. Each object
    is retried by itself. Whoever puts waits while too much is under way.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._room = threading.Condition()
        self._under_way: dict[Future[Any], int] = {}
        self._error: BaseException | None = None

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Begin to write an object."""
        kind = headers(self._fs, content_type)
        if not is_async(self._fs):
            with_retries(lambda: self._fs.pipe_file(path, data, **kind))
            return
        cost = max(len(data), _BYTES // _OBJECTS)  # small objects count for more than their bytes
        with self._room:
            self._room.wait_for(
                lambda: self._error or sum(self._under_way.values()) + cost <= _BYTES
                or not self._under_way
            )  # fmt: skip
            self._raise()
            call = retried_async(partial(self._fs._pipe_file, path, data, **kind))  # noqa: SLF001
            future = asyncio.run_coroutine_threadsafe(call, self._fs.loop)
            self._under_way[future] = cost
        future.add_done_callback(self._done)

    def _done(self, future: Future[Any]) -> None:
        with self._room:
            self._under_way.pop(future, None)
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
            self._room.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        whole = raised == (None, None, None)
        if whole:
            with self._room:
                self._room.wait_for(lambda: self._error or not self._under_way)
        with self._room:
            left = list(self._under_way)  # only after a failure is there any
        for future in left:
            future.cancel()
        if whole:
            self._raise()


def read_ranges(fs: Any, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """Read byte ranges ``(path, start, stop)`` side by side; only what fails is read again.

    Parameters
    ----------
    fs
        A file system; with a synchronous one the ranges are read in turn.
    """
    found: list[Any] = [None] * len(ranges)
    left = list(range(len(ranges)))
    waits = pauses()
    while True:
        answers = fs.cat_ranges(
            [ranges[i][0] for i in left],
            [ranges[i][1] for i in left],
            [ranges[i][2] for i in left],
            on_error="return",
        )
        for i, answer in zip(left, answers, strict=True):
            found[i] = answer
        left = [i for i in left if isinstance(found[i], Exception)]
        if not left:
            return [bytes(each) for each in found]
        lasting = [found[i] for i in left if failure_of(found[i]) is not Failure.TRANSIENT]
        pause = None if lasting else next(waits, None)
        if pause is None:
            raise (lasting or [found[left[0]]])[0]
        time.sleep(pause)


def headers(fs: Any, content_type: str) -> dict[str, Any]:
    """Return the keywords with which a store is told a type; it guesses none by itself.

    Never an encoding: the viewer inflates ``.gz`` itself, and would get what a browser
    had inflated before.
    """
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if "s3" in protocols:
        return {"ContentType": content_type}
    if "gs" in protocols:
        return {"content_type": content_type}
    if "abfs" in protocols:
        from azure.storage.blob import ContentSettings  # noqa: PLC0415  there with adlfs

        return {"content_settings": ContentSettings(content_type=content_type)}
    return {}


def content_type(name: str) -> str:
    """Return the media type of a file; a ``.gz`` is what it is, not an encoding of something."""
    known = {".gz": "application/gzip", ".json": "application/json"}
    return known.get(name[name.rfind(".") :], "application/octet-stream")
