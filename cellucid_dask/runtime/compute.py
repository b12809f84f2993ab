"""Computation of task graphs on the active scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dask.threaded
from dask.delayed import Delayed
from dask.system import CPU_COUNT

from cellucid_dask.runtime.cluster import active_client
from cellucid_dask.runtime.graph import TaskGraph
from cellucid_dask.runtime.progress import Progress, Watch
from cellucid_dask.runtime.supervise import RETRIES, compute, compute_all

_LOCAL_THREADS = {None, "threads", "threading"}


def run(graph: TaskGraph, progress: Progress, n_workers: int) -> Any:
    """Compute the result of a graph on the active scheduler.

    Parameters
    ----------
    graph
        The tasks.
    progress
        Notified as tasks finish.
    n_workers
        Number of threads, if tasks run in this process.
    """
    client = active_client()
    if client is not None:
        return compute(client, graph, progress)
    calls: dict[Any, Callable[[Any], None]] = dict.fromkeys(graph.reads, lambda _: progress.read())
    calls |= dict.fromkeys(
        graph.encodes, lambda done: progress.add(len(done.column), done.total_bytes)
    )
    with Watch(calls), _local_threads(n_workers):
        (result,) = dask.compute(Delayed(graph.result, graph.tasks))
    return result


def run_all(
    tasks: Iterable[Any], n_workers: int = CPU_COUNT, progress: Progress | None = None
) -> tuple[Any, ...]:
    """Compute delayed values or arrays on the active scheduler.

    Parameters
    ----------
    tasks
        The values; lists of them without `progress`.
    n_workers
        As in `run`.
    progress
        Counts each value as soon as it is computed.
    """
    tasks, calls = list(tasks), {}
    if (client := active_client()) is not None:
        return compute_all(client, tasks, progress)
    if progress is not None:
        calls = dict.fromkeys([task.key for task in tasks], lambda _: progress.add())
    with Watch(calls), _local_threads(n_workers):
        results: tuple[Any, ...] = dask.compute(*tasks, retries=RETRIES)
    return results


@contextmanager
def _local_threads(n_workers: int) -> Iterator[None]:
    """Run tasks of the local scheduler in a thread pool that is closed at the end of the block.

    Closing it waits for all its tasks. The scheduler is passed as a function, because Dask would
    import distributed to look up a name.
    """
    if active_client() is None and dask.config.get("scheduler", None) in _LOCAL_THREADS:
        get = dask.threaded.get
        with ThreadPoolExecutor(n_workers) as pool, dask.config.set(pool=pool, scheduler=get):
            yield
    else:
        yield
