"""Computation of task graphs on the active scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dask
from dask.delayed import Delayed
from dask.system import CPU_COUNT

from cellucid_dask.runtime import local
from cellucid_dask.runtime.cluster import active_client
from cellucid_dask.runtime.graph import TaskGraph
from cellucid_dask.runtime.progress import Progress, Watch
from cellucid_dask.runtime.supervise import RETRIES, compute, compute_all


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
    with Watch(calls):
        whole = Delayed(graph.result, graph.tasks)
        (result,) = local.compute(lambda: dask.compute(whole), n_workers, progress.wait_for)
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
    tell = None if progress is None else progress.wait_for
    with Watch(calls):
        results: tuple[Any, ...] = local.compute(
            lambda: dask.compute(*tasks, retries=RETRIES), n_workers, tell
        )
    return results
