"""Compute a graph on whatever scheduler is active."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dask.threaded
from dask.delayed import Delayed
from dask.system import CPU_COUNT

from cellucid_dask.runtime.cluster import active_client
from cellucid_dask.runtime.graph import TaskGraph
from cellucid_dask.runtime.progress import Progress, Watch
from cellucid_dask.runtime.supervise import RETRIES, compute

_LOCAL_THREADS = {None, "threads", "threading"}


def run(graph: TaskGraph, progress: Progress, n_workers: int) -> Any:
    """Compute the result on the active scheduler.

    Parameters
    ----------
    progress
        Learns of tasks as they end.
    n_workers
        Threads, where the scheduler is the local one.
    """
    client = active_client()
    if client is not None:
        return compute(client, graph, progress)
    with Watch(progress, graph.reads, graph.encodes), _local_threads(n_workers):
        (result,) = dask.compute(Delayed(graph.result, graph.tasks))
    return result


def run_all(tasks: Iterable[Any], n_workers: int = CPU_COUNT) -> tuple[Any, ...]:
    """Compute some delayed results on the active scheduler; `n_workers` as of `run`."""
    with _local_threads(n_workers):
        found: tuple[Any, ...] = dask.compute(*tasks, retries=RETRIES)
    return found


@contextmanager
def _local_threads(n_workers: int) -> Iterator[None]:
    """Threads of our own for the local scheduler: when they end, so have all their tasks.

    The scheduler is given as a function, for Dask would import distributed to look up a name.
    """
    if active_client() is None and dask.config.get("scheduler", None) in _LOCAL_THREADS:
        get = dask.threaded.get
        with ThreadPoolExecutor(n_workers) as pool, dask.config.set(pool=pool, scheduler=get):
            yield
    else:
        yield
