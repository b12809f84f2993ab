"""Many objects at once where a store's calls are asynchronous, else one after the other."""

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
from cellucid_dask.store.retry import pauses, with_retries, with_retries_async


def is_async(fs: Any) -> bool:
    """Whether many calls of a file system can be under way at once."""
    return bool(getattr(fs, "async_impl", False)) and hasattr(fs, "_pipe_file")


def with_timeout(fs: Any, seconds: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """Await a call of an asynchronous file system for a limited time, and retry it so long.

    Raises
    ------
    TimeoutError
        It took longer; or the error of the last try, if one had ended.
    """
    errors: list[Exception] = []

    async def noted() -> Any:
        try:
            return await call()
        except Exception as error:
            errors.append(error)
            raise

    try:
        return sync(fs.loop, asyncio.wait_for, with_retries_async(noted), seconds)
    except TimeoutError:
        if errors:
            raise errors[-1] from errors[-1].__cause__
        raise


class Uploads:
    """Concurrent writes to a store, bounded in number and bytes.

    Leaving the context waits for all of them, or raises the first failure. Each object
    is retried by itself. `put` blocks while too much is under way.

    Parameters
    ----------
    fs
        The file system; with a synchronous one, objects are written one after the other.
    max_bytes, max_objects
        Limits of what is under way at once.
    """

    def __init__(self, fs: Any, max_bytes: int = 8 * 2**20, max_objects: int = 128) -> None:
        self._fs = fs
        self._max_bytes = max_bytes
        self._min_cost = max_bytes // max_objects  # small objects count for more than their bytes
        self._changed = threading.Condition()
        self._under_way: dict[Future[Any], int] = {}
        self._error: BaseException | None = None

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Begin to write an object."""
        options = headers(self._fs, content_type)
        if not is_async(self._fs):
            with_retries(lambda: self._fs.pipe_file(path, data, **options))
            return
        cost = max(len(data), self._min_cost)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._error
                    or not self._under_way
                    or sum(self._under_way.values()) + cost <= self._max_bytes
                )
            )
            self._raise()
            call = with_retries_async(partial(self._fs._pipe_file, path, data, **options))  # noqa: SLF001
            future = asyncio.run_coroutine_threadsafe(call, self._fs.loop)
            self._under_way[future] = cost
        future.add_done_callback(self._done)

    def _done(self, future: Future[Any]) -> None:
        with self._changed:
            self._under_way.pop(future, None)
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


def fetch_ranges(
    fs: Any, ranges: Sequence[tuple[str, int, int]], sleep: Callable[[float], None] = time.sleep
) -> list[bytes | Exception]:
    """Read byte ranges ``(path, start, stop)`` side by side where the store can.

    Transient failures are retried; of each range its bytes come back, or its last error.
    """
    results: list[Any] = [None] * len(ranges)
    left = list(range(len(ranges)))
    waits = pauses()
    while left:
        paths, starts, stops = zip(*(ranges[i] for i in left), strict=True)
        answers = fs.cat_ranges(list(paths), list(starts), list(stops), on_error="return")
        for i, answer in zip(left, answers, strict=True):
            results[i] = answer if isinstance(answer, Exception) else bytes(answer)
        errors = {i: results[i] for i in left if isinstance(results[i], Exception)}
        left = [i for i, error in errors.items() if failure_of(error) is Failure.TRANSIENT]
        pause = next(waits, None) if left else None
        if pause is None:
            break
        sleep(pause)
    return results


def headers(fs: Any, content_type: str) -> dict[str, Any]:
    """Return the keywords that set an object's content type; fsspec's stores guess none.

    No content encoding: the viewer inflates ``.gz`` itself, which would fail on what the
    browser had inflated already.
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
    """Return the media type of a file; a ``.gz`` is gzip itself, not an encoding of something."""
    known = {
        ".gz": "application/gzip", ".json": "application/json", ".html": "text/html; charset=utf-8",
        ".css": "text/css", ".js": "text/javascript",
    }  # fmt: skip
    return known.get(name[name.rfind(".") :], "application/octet-stream")
