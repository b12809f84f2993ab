"""A run on a Dask cluster: its progress, its failures, and cancelling it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dask.base import unpack_collections

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.runtime.answers import ClusterWatch, ask, explained, gone, within
from cellucid_dask.runtime.patience import Vigil
from cellucid_dask.runtime.progress import Progress

if TYPE_CHECKING:
    from cellucid_dask.runtime.graph import TaskGraph

P = ParamSpec("P")
T = TypeVar("T")

# Number of times that Dask repeats a failed task, on any worker.
RETRIES = 3
# Seconds that a permanently failed task waits to be cancelled before Dask would repeat it.
_CANCEL_SECONDS = 1.0
# Seconds that a cancelled run waits for tasks that are running. What has not ended by then, on a
# worker that is frozen, finds out before it writes that the target is no longer this run's.
_STOP_SECONDS = 5.0
# Seconds that workers have to say what they run.
_ANSWER = 2.0
# A result is lost with its worker, and the scheduler then computes it again.
_UNENDED = {"pending", "lost"}
_TOPIC = "cellucid-dask-final-error"


def final(task: Callable[P, T]) -> Callable[P, T]:
    """Report a permanent failure to the client at once; Dask would retry the task otherwise."""

    @wraps(task)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return task(*args, **kwargs)
        except (RequestError, ExportError) as error:
            _report(error)
            raise

    return wrapped


def _report(error: Exception) -> None:
    if "distributed" not in sys.modules:
        return
    from distributed import get_worker  # noqa: PLC0415

    with suppress(ValueError):  # not in a worker
        worker = get_worker()
        event = {"kind": type(error).__name__, "text": str(error.args[0])}
        worker.log_event(_TOPIC, {**event, "key": str(worker.get_current_task())})
        time.sleep(_CANCEL_SECONDS)


def compute(client: Any, graph: TaskGraph, progress: Progress) -> Any:
    """Compute the result of a graph on a cluster.

    Parameters
    ----------
    client
        A synchronous client.
    graph
        The tasks.
    progress
        Notified as read and encode tasks finish, and of what is waited for.

    Raises
    ------
    ExportError, RequestError
        The first error of a task, as soon as it is raised; or nothing has moved for too long.

    Notes
    -----
    Tasks of the run that can end have ended when the call returns: if it fails, running tasks are
    waited for, since they could otherwise overwrite files of the next run.
    """
    vigil = Vigil(ClusterWatch(client), progress.wait_for)
    read, encoded = set(graph.reads), set(graph.encodes)
    with _submitted(client, set(map(str, graph.tasks))) as ended:
        keys = [graph.result, *graph.reads, *graph.encodes]
        with explained(client):
            result, *steps = client.get(graph.tasks, keys, sync=False, retries=RETRIES)
            ended.follow([result, *steps])
        steps.clear()  # lets the cluster drop a step's result once no task needs it
        while ended.left:
            done = ended.next(vigil)
            for summary in ask_for_results(client, [each for each in done if each.key in encoded]):
                progress.add(len(summary.column), summary.total_bytes)
            progress.read(sum(each.key in read for each in done))
            for future in done:
                if future is not result:
                    future.release()
        (summary,) = ask_for_results(client, [result])
        return summary


def compute_all(
    client: Any, tasks: Iterable[Any], progress: Progress | None = None
) -> tuple[Any, ...]:
    """Compute delayed values, arrays or lists of them on a cluster; raise as `compute` does."""
    vigil = Vigil(ClusterWatch(client), None if progress is None else progress.wait_for)
    collections, repack = unpack_collections(*tasks)
    with explained(client):
        futures = client.compute(collections, retries=RETRIES)
    with _submitted(client, {str(each.key) for each in futures}) as ended:
        ended.follow(futures)
        while ended.left:
            done = ended.next(vigil)
            if progress is not None:
                progress.add(len(done))
        results: tuple[Any, ...] = repack(ask_for_results(client, futures))
        return results


def ask_for_results(client: Any, futures: list[Any]) -> list[Any]:
    """Fetch the results of finished futures."""
    if not futures:
        return []
    results: list[Any] = ask(client, lambda: client.gather(futures))
    return results


class _Ended:
    """Tells which futures have ended, and of errors that tasks have reported."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.left: dict[Any, Any] = {}

    def follow(self, futures: Iterable[Any]) -> None:
        """Tell of these futures as soon as each has ended."""
        self.left.update((each.key, each) for each in futures)
        for future in self.left.values():
            self._follow(future)

    def _follow(self, future: Any) -> None:
        async def wait() -> None:
            while future.status in _UNENDED:
                await future._state.wait()  # noqa: SLF001  `wait` would ask from another thread
            self.queue.put(future)

        future.client.loop.add_callback(wait)

    def next(self, vigil: Vigil) -> list[Any]:
        """Wait for futures to end, and return all that have; raise the first failure."""
        first = vigil.wait(lambda seconds: self.queue.get(timeout=seconds))
        return [self.left.pop(each.key) for each in self._finished(first)]

    def _finished(self, item: Any) -> Iterator[Any]:
        with suppress(Empty):
            while True:
                if isinstance(item, dict):
                    self._raise_if_ours(item)
                elif item.status in _UNENDED:
                    self._follow(item)
                elif item.status != "finished":
                    raise _error_of(item)
                else:
                    yield item
                item = self.queue.get_nowait()

    def _raise_if_ours(self, event: Mapping[str, str]) -> None:
        """Raise the error that a task reported, unless it belongs to another run."""
        if event["key"] in self._keys:
            raise {"RequestError": RequestError}.get(event["kind"], ExportError)(event["text"])


@contextmanager
def _submitted(client: Any, keys: set[str]) -> Iterator[_Ended]:
    """Follow the tasks of these keys inside the block; if it fails, cancel them."""
    ended = _Ended(keys)
    with explained(client):
        client.subscribe_topic(_TOPIC, lambda event: ended.queue.put(event[1]))
    try:
        yield ended
    except BaseException:
        _stop(client, keys, list(ended.left.values()))
        raise
    finally:
        with suppress(Exception):  # the client was closed, perhaps
            client.unsubscribe_topic(_TOPIC)


def _error_of(future: Any) -> Exception:
    """Return the error of a failed or lost task, in the user's words."""
    from distributed import KilledWorker  # noqa: PLC0415

    if future.status != "error":
        return gone(future.client)
    error = future.exception()
    if isinstance(error, KilledWorker):
        return ExportError(
            "Several workers died in the same task, probably because they ran out of memory: give "
            "them more memory or use a smaller --memory-budget, and run this again, an export "
            "with --resume."
        )
    failure: Exception = error
    return failure


def _stop(client: Any, keys: set[str], futures: list[Any]) -> None:
    """Cancel a run, and wait until no worker that answers runs any of its tasks."""
    deadline = time.monotonic() + _STOP_SECONDS
    with suppress(Exception):  # the cluster is gone, perhaps, and its tasks with it
        # not `cancel`: cancelling keys that depend on one another breaks the scheduler
        for future in futures:
            future.release()
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                running = within(client, _ANSWER, lambda: client.run(_running, on_error="ignore"))
                if not any(keys.intersection(each) for each in running.values()):
                    return
            time.sleep(0.1)


def _running(dask_worker: Any) -> list[str]:
    return [str(task.key) for task in dask_worker.state.all_running_tasks]
