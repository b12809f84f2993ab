"""A run on a Dask cluster: how far it is, what becomes of its failures, and its end."""

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

# Times a task that failed is tried again, on whatever worker.
RETRIES = 3
# Seconds that a task which failed for good waits, so that it is cancelled and not tried again.
_NOTICE = 1.0
# Seconds in which the tasks of a stopped run may come to their end.
_LAST_TASKS = 60
_FINAL = "cellucid-dask-final-error"


def final(task: Callable[P, T]) -> Callable[P, T]:
    """Say at once when a task fails for good, for Dask would try it again."""

    @wraps(task)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return task(*args, **kwargs)
        except (RequestError, ExportError) as error:
            _announce(error)
            raise

    return wrapped


def _announce(error: Exception) -> None:
    if "distributed" not in sys.modules:
        return
    from distributed import get_worker  # noqa: PLC0415

    with suppress(ValueError):  # this is no worker
        worker = get_worker()
        told = {"kind": type(error).__name__, "text": str(error)}
        worker.log_event(_FINAL, {**told, "key": str(worker.get_current_task())})
        time.sleep(_NOTICE)


def compute(client: Any, graph: TaskGraph, progress: Progress) -> Any:
    """Compute a graph on a cluster, and tell `progress` of the tasks on the way.

    Parameters
    ----------
    client
        A client that can be waited for.
    graph
        The tasks and their keys.
    progress
        Learns the results of the tasks that encode.

    Raises
    ------
    ExportError, RequestError
        As the tasks raise them, as soon as the first one does.

    Notes
    -----
    However it ends, no task of the run goes on: those under way are waited for, since
    what they still write could come after what a next run has written.
    """
    ended: SimpleQueue[Any] = SimpleQueue()
    waiting: dict[Any, Any] = {}
    client.subscribe_topic(_FINAL, lambda event: ended.put(event[1]))
    try:
        last, *steps = client.get(
            graph.tasks, [graph.result, *graph.reads, *graph.encodes], sync=False, retries=RETRIES
        )
        waiting = {future.key: future for future in (last, *steps)}
        steps.clear()  # a step's result may go as soon as nothing else needs it
        for future in waiting.values():
            future.add_done_callback(ended.put)
        read, encoded = set(graph.reads), set(graph.encodes)
        while waiting:
            done = [waiting.pop(one.key) for one in _ended(ended, graph)]
            for summary in client.gather([future for future in done if future.key in encoded]):
                progress.encoded(len(summary.column), int(summary.nbytes.sum()))
            progress.read(sum(future.key in read for future in done))
            for future in done:
                if future is not last:
                    future.release()
        return last.result()
    except BaseException:
        _stop(client, graph, list(waiting.values()))
        raise
    finally:
        client.unsubscribe_topic(_FINAL)


def _ended(queue: SimpleQueue[Any], graph: TaskGraph) -> Iterator[Any]:
    """Wait for something in the queue, and go through whatever is there; raise what failed."""
    one = queue.get()
    with suppress(Empty):
        while True:
            if isinstance(one, dict):
                _raise_if_ours(one, graph)
            elif one.status != "finished":
                raise _plain(one)
            else:
                yield one
            one = queue.get_nowait()


def _raise_if_ours(told: dict[str, str], graph: TaskGraph) -> None:
    """Raise the error that a task announced, unless it is of another run on this cluster."""
    if told["key"] in map(str, graph.tasks):
        raise {"RequestError": RequestError}.get(told["kind"], ExportError)(told["text"])


def _plain(future: Any) -> Exception:
    """Say what became of a task that did not end well."""
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
    found: Exception = error
    return found


def _stop(client: Any, graph: TaskGraph, futures: Sequence[Any]) -> None:
    """Cancel a run, and wait until none of its tasks occupies a worker."""
    ours = set(map(str, graph.tasks))
    until = time.monotonic() + _LAST_TASKS
    with suppress(OSError, RuntimeError):  # the cluster has gone, and its tasks with it
        for future in futures:  # cancelling keys that depend on one another trips the scheduler
            future.release()
        while time.monotonic() < until:
            running = client.run(_running, on_error="ignore")
            if not any(ours.intersection(keys) for keys in running.values()):
                return
            time.sleep(0.1)


def _running(dask_worker: Any) -> list[str]:
    return [str(task.key) for task in dask_worker.state.all_running_tasks]
