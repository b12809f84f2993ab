"""Running on a Dask cluster: finding its workers, waiting for them, and stopping them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import dask

import cellucid_dask
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.progress import Progress

if TYPE_CHECKING:
    from cellucid_dask.graph import Work

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("cellucid_dask")
# Seconds that a task which failed for good waits, so that it is cancelled and not tried again.
_NOTICE = 1.0
# Seconds until a scheduler that does not answer is given up.
_ANSWER = 5
# Seconds until a worker must have come; batch systems take their time.
_FIRST_WORKER = 60
# Seconds in which the tasks of a stopped run may come to their end.
_LAST_TASKS = 60
# Times a task that failed is tried again, on whatever worker.
RETRIES = 3
# Workers begin to spill at 60 % of their limit.
_SHARE_OF_LIMIT = 0.4
_DISTRIBUTED = {"dask.distributed", "distributed"}
_FINAL = "cellucid-dask-final-error"


def active_client() -> Any:
    """Return the client that Dask would use now, or ``None``."""
    chosen = dask.config.get("scheduler", None)
    if "distributed" not in sys.modules or chosen not in {None, *_DISTRIBUTED}:
        return None
    from distributed import default_client  # noqa: PLC0415  only when it is in use

    with suppress(ValueError):
        return default_client()
    return None


@contextmanager
def blocking_client() -> Iterator[None]:
    """Within, the active client can be waited for: an asynchronous one gets a stand-in.

    The stand-in talks to the same scheduler from an event loop of its own.

    Raises
    ------
    RequestError
        The scheduler lives in the very event loop that the call blocks.
    """
    client = active_client()
    if client is None and dask.config.get("scheduler", None) in _DISTRIBUTED:
        with dask.config.set(scheduler=None):  # clients that end out of turn leave it behind
            yield
        return
    if client is None or not client.asynchronous:
        yield
        return
    from distributed import Client  # noqa: PLC0415

    try:
        stand_in = Client(
            client.scheduler.address, security=client.security, timeout=_ANSWER,
            set_as_default=False, asynchronous=False,
        )  # fmt: skip
    except (OSError, AttributeError) as error:
        raise RequestError(
            "The asynchronous Dask client's scheduler cannot answer while this call blocks its "
            "event loop: await asyncio.to_thread(cellucid_dask.export, ...) instead."
        ) from error
    with stand_in, stand_in.as_current():
        yield


def connect(address: str) -> Any:
    """Return a client of a running scheduler.

    Raises
    ------
    RequestError
        None answers there.
    """
    from distributed import Client  # noqa: PLC0415  slow to import

    try:
        return Client(address, timeout=_ANSWER)
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"No Dask scheduler answers at {address}: check the address, such as "
            "tcp://10.0.0.1:8786, and that it runs (dask scheduler)."
        ) from error


def start(n_workers: int) -> Any:
    """Return a client of this many new worker processes, which end with it."""
    from distributed import Client  # noqa: PLC0415  slow to import

    return Client(
        n_workers=n_workers, threads_per_worker=1, dashboard_address=None,
        silence_logs=logging.CRITICAL,  # what ends a run is told by the run itself
        preload=[__name__],
    )  # fmt: skip


def dask_setup(_: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the one that started us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def find_workers(client: Any) -> tuple[int, int]:
    """Say how many tasks the workers do at once, and how many bytes these may hold together.

    Waits for the first worker.

    Raises
    ------
    RequestError
        There are none, or they do not have this version of the package.
    """
    _wait_for_workers(client)
    probes = client.run(_probe(), on_error="ignore")
    versions = {address: version for address, (version, *_) in probes.items()}
    other = [address for address, version in versions.items() if version != _version()]
    if other:
        theirs = versions[other[0]]
        raise RequestError(
            f"Worker {other[0]} has {f'cellucid-dask {theirs}' if theirs else 'no cellucid-dask'}, "
            f"and this is {_version()}: install the same version everywhere."
        )
    workers = client.scheduler_info(n_workers=-1)["workers"]
    threads = {address: worker["nthreads"] for address, worker in workers.items()}
    on_host = Counter(probes[address][1] for address in threads if address in probes)
    shares = []
    for address, worker in workers.items():
        limit = worker["memory_limit"]
        if not limit and address in probes:  # then the host's memory is the limit
            _, host, free = probes[address]
            limit = free // on_host[host]
        if limit:
            shares.append(limit / threads[address])
    n_threads = sum(threads.values())
    if not shares:
        raise RequestError("The Dask workers left as soon as they had come: start them again.")
    _log.info("%d workers with %d threads", len(workers), n_threads)
    return n_threads, int(min(shares) * _SHARE_OF_LIMIT) * n_threads


def check_sees(client: Any, path: str) -> None:
    """Make sure that every worker sees a local path.

    Raises
    ------
    RequestError
        Naming a worker that does not.
    """
    if blind := find_blind(client, path):
        raise RequestError(
            f"Dask worker {blind} does not see {path}: choose a place that every worker "
            "reaches, a shared folder or a store such as s3://bucket/atlas."
        )


def find_blind(client: Any, path: str) -> str | None:
    """Find a worker that does not see a local path."""
    sees = client.run(os.path.exists, path, on_error="ignore")
    return next((worker for worker, there in sees.items() if there is False), None)


def _version() -> str:
    return cellucid_dask.__version__


def _wait_for_workers(client: Any) -> None:
    """Wait for one worker; a task that waits makes an adaptive cluster start one."""
    if client.scheduler_info(n_workers=-1)["workers"]:
        return
    _log.info("waiting for a worker")
    from distributed import TimeoutError as Late  # noqa: PLC0415

    future = client.submit(_probe(), pure=False)
    try:
        future.result(timeout=_FIRST_WORKER)
    except Late:
        raise RequestError(
            f"The Dask scheduler has had no worker for {_FIRST_WORKER:g} seconds: start some, and "
            "run this again."
        ) from None
    finally:
        future.cancel()


def _probe() -> Callable[[], tuple[str | None, str, int]]:
    """Make a function that workers can run which do not have this package."""

    def probe() -> tuple[str | None, str, int]:
        import importlib  # noqa: PLC0415  of the worker
        import socket  # noqa: PLC0415

        import psutil  # noqa: PLC0415
        from distributed.system import MEMORY_LIMIT  # noqa: PLC0415

        try:
            version = importlib.import_module("cellucid_dask").__version__
        except ImportError:
            version = None
        free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
        return version, socket.gethostname(), free

    return probe


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


def compute(client: Any, work: Work, progress: Progress) -> Any:
    """Compute a graph on a cluster, and tell `progress` of the tasks on the way.

    Parameters
    ----------
    client
        A client that can be waited for.
    work
        The graph and its keys.
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
            work.graph, [work.whole, *work.reads, *work.encodes], sync=False, retries=RETRIES
        )
        waiting = {future.key: future for future in (last, *steps)}
        steps.clear()  # a step's result may go as soon as nothing else needs it
        for future in waiting.values():
            future.add_done_callback(ended.put)
        read, encoded = set(work.reads), set(work.encodes)
        while waiting:
            done = [waiting.pop(one.key) for one in _ended(ended, work)]
            for summary in client.gather([future for future in done if future.key in encoded]):
                progress.encoded(summary)
            progress.read(sum(future.key in read for future in done))
            for future in done:
                if future is not last:
                    future.release()
        return last.result()
    except BaseException:
        _stop(client, work, list(waiting.values()))
        raise
    finally:
        client.unsubscribe_topic(_FINAL)


def _ended(queue: SimpleQueue[Any], work: Work) -> Iterator[Any]:
    """Wait for something in the queue, and go through whatever is there; raise what failed."""
    one = queue.get()
    with suppress(Empty):
        while True:
            if isinstance(one, dict):
                _raise_if_ours(one, work)
            elif one.status != "finished":
                raise _plain(one)
            else:
                yield one
            one = queue.get_nowait()


def _raise_if_ours(told: dict[str, str], work: Work) -> None:
    """Raise the error that a task announced, unless it is of another run on this cluster."""
    if told["key"] in map(str, work.graph):
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


def _stop(client: Any, work: Work, futures: Sequence[Any]) -> None:
    """Cancel a run, and wait until none of its tasks occupies a worker."""
    ours = set(map(str, work.graph))
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
