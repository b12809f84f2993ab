"""The schedulers of this machine: their threads or processes, and how long to wait for them.

Tasks run beside the calling thread, which only waits, so that it can be interrupted and can give
up on them. A thread cannot be ended: one that hangs is left behind, and ends with the program.
"""

from __future__ import annotations

import contextvars
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import wait as wait_for
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import dask
import dask.multiprocessing
import dask.threaded
import psutil

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.patience import Look, Vigil, effort_of_threads, patience, run_into

T = TypeVar("T")

# Names of the schedulers, as Dask has them. The one that is synchronous is not waited for: its
# tasks are run by the calling thread.
_THREADS = {None, "threads", "threading"}
_PROCESSES = {"processes", "multiprocessing"}
_NAME = "cellucid-dask-task"
# Seconds that tasks have to end if the run fails or is interrupted.
_STOP_SECONDS = 5.0


def compute(call: Callable[[], T], n_workers: int, tell: Callable[[str], None] | None) -> T:
    """Make a call that computes something by the scheduler of this machine that is chosen.

    Parameters
    ----------
    call
        Computes by Dask.
    n_workers
        Number of threads.
    tell
        As in `Vigil`.

    Raises
    ------
    ExportError
        A task has not moved for too long, or its process has died.
    """
    chosen = dask.config.get("scheduler", None)
    if chosen in _THREADS:
        tasks: AbstractContextManager[Callable[[], int]] = _threads(n_workers)
    elif chosen in _PROCESSES:
        tasks = _processes(n_workers)
    else:
        return call()
    with tasks as effort:
        watch = _Watch(effort)
        done: Future[T] = Future()
        context = contextvars.copy_context()
        runner = threading.Thread(
            target=context.run, args=(run_into, call, done), daemon=True, name="cellucid-dask-run"
        )
        runner.start()
        try:
            return Vigil(watch, tell).wait(lambda seconds: _result(done, seconds))
        except BrokenExecutor:
            raise ExportError(
                "A process of the Dask scheduler has died, most likely because memory ran out: "
                "give a smaller --memory-budget, and run this again, an export with --resume."
            ) from None


def _result(done: Future[T], seconds: float) -> T:
    if not wait_for([done], seconds).done:
        raise Empty
    return done.result()


class _Watch:
    """Sees whether tasks get time of the processor."""

    def __init__(self, effort: Callable[[], int]) -> None:
        self._effort = effort

    def look(self) -> Look:
        """Look once."""
        error = ExportError(
            f"A task has not moved for {patience()}: its disk or network may hang. See to that, "
            "or allow more with --timeout, and run this again, an export with --resume."
        )
        return Look("a task that does not move", error, {"": (self._effort(),)})


@contextmanager
def _threads(n_workers: int) -> Iterator[Callable[[], int]]:
    """Run tasks in threads of their own inside the block; yield what they have done.

    The scheduler is passed as a function, because Dask would import distributed to look up a name.
    """
    pool = _Pool(n_workers)
    try:
        with dask.config.set(pool=pool, scheduler=dask.threaded.get):
            yield lambda: effort_of_threads((_NAME,))
    finally:
        pool.close()


class _Pool:
    """Threads that do not keep the program from ending."""

    def __init__(self, n_workers: int) -> None:
        self._max_workers = n_workers
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._futures: set[Future[Any]] = set()
        self._closed = False
        for _ in range(n_workers):
            threading.Thread(target=self._work, daemon=True, name=_NAME).start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a task as soon as a thread is free."""
        if self._closed:
            raise RuntimeError("the run has ended")
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                run_into(lambda: context.run(fn, *args, **kwargs), future)

        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        self._calls.put(call)
        return future

    def close(self) -> None:
        """Take no more tasks, drop those that wait, and wait some seconds for the others."""
        self._closed = True
        left = list(self._futures)
        for future in left:
            future.cancel()
        for _ in range(self._max_workers):
            self._calls.put(None)
        wait_for(left, _STOP_SECONDS)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


@contextmanager
def _processes(n_workers: int) -> Iterator[Callable[[], int]]:
    """Run tasks in processes of their own inside the block; yield what they have done."""
    others = set(multiprocessing.active_children())

    def ours() -> list[Any]:
        return [each for each in multiprocessing.active_children() if each not in others]

    def effort() -> int:
        seconds = 0.0
        for each in ours():
            with suppress(psutil.Error):
                times = psutil.Process(each.pid).cpu_times()
                seconds += times.user + times.system
        return int(seconds * 10)

    with dask.config.set(num_workers=n_workers):
        try:
            yield effort
        except BaseException:
            for each in ours():
                each.kill()
            raise
