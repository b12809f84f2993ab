"""A run on a Dask cluster: its progress, its failures, and cancelling it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.runtime.progress import Progress

if TYPE_CHECKING:
    from cellucid_dask.runtime.graph import TaskGraph

P = ParamSpec("P")
T = TypeVar("T")

# Number of times that Dask repeats a failed task, on any worker.
RETRIES = 3
# Seconds that a permanently failed task waits to be cancelled before Dask would repeat it.
_CANCEL_SECONDS = 1.0
# Seconds that a cancelled run waits for tasks that are running.
_STOP_SECONDS = 60
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
        event = {"kind": type(error).__name__, "text": str(error)}
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
        Notified as read and encode tasks finish.

    Raises
    ------
    ExportError, RequestError
        The first error of a task, as soon as it is raised.

    Notes
    -----
    No task of the run outlasts the call: if it fails, running tasks are waited for, since they
    could otherwise overwrite files of the next run.
    """
    ended: SimpleQueue[Any] = SimpleQueue()
    waiting: dict[Any, Any] = {}
    client.subscribe_topic(_TOPIC, lambda event: ended.put(event[1]))
    try:
        result, *steps = client.get(
            graph.tasks, [graph.result, *graph.reads, *graph.encodes], sync=False, retries=RETRIES
        )
        waiting = {future.key: future for future in (result, *steps)}
        steps.clear()  # lets the cluster drop a step's result once no task needs it
        for future in waiting.values():
            future.add_done_callback(ended.put)
        read, encoded = set(graph.reads), set(graph.encodes)
        while waiting:
            done = [waiting.pop(future.key) for future in _finished(ended, graph)]
            for summary in client.gather([future for future in done if future.key in encoded]):
                progress.add(len(summary.column), summary.total_bytes)
            progress.read(sum(future.key in read for future in done))
            for future in done:
                if future is not result:
                    future.release()
        return result.result()
    except BaseException:
        _stop(client, graph, list(waiting.values()))
        raise
    finally:
        client.unsubscribe_topic(_TOPIC)


def _finished(queue: SimpleQueue[Any], graph: TaskGraph) -> Iterator[Any]:
    """Wait for the queue and yield all finished futures in it; raise the first failure."""
    item = queue.get()
    with suppress(Empty):
        while True:
            if isinstance(item, dict):
                _raise_if_ours(item, graph)
            elif item.status != "finished":
                raise _error_of(item)
            else:
                yield item
            item = queue.get_nowait()


def _raise_if_ours(event: dict[str, str], graph: TaskGraph) -> None:
    """Raise the error that a task reported, unless it belongs to another run on this cluster."""
    if event["key"] in map(str, graph.tasks):
        raise {"RequestError": RequestError}.get(event["kind"], ExportError)(event["text"])


def _error_of(future: Any) -> Exception:
    """Return the error of a failed or lost task, in the user's words."""
    from distributed import KilledWorker  # noqa: PLC0415

    if future.status != "error":
        return ExportError(
            "The Dask scheduler has gone, or dropped the work: start it again and go on with "
            "--resume."
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        return ExportError(
            "Several workers died in the same task, most likely because their memory ran out: give "
            "them more or a smaller --memory-budget, and go on with --resume."
        )
    failure: Exception = error
    return failure


def _stop(client: Any, graph: TaskGraph, futures: Sequence[Any]) -> None:
    """Cancel a run, and wait until no worker runs any of its tasks."""
    ours = set(map(str, graph.tasks))
    deadline = time.monotonic() + _STOP_SECONDS
    with suppress(OSError, RuntimeError):  # the cluster is gone, and its tasks with it
        # not `cancel`: cancelling keys that depend on one another breaks the scheduler
        for future in futures:
            future.release()
        while time.monotonic() < deadline:
            running = client.run(_running, on_error="ignore")
            if not any(ours.intersection(keys) for keys in running.values()):
                return
            time.sleep(0.1)


def _running(dask_worker: Any) -> list[str]:
    return [str(task.key) for task in dask_worker.state.all_running_tasks]
