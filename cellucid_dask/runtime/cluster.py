"""A Dask cluster: its client, its workers, and what these see and may use."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dask

from cellucid_dask._version import __version__
from cellucid_dask.errors import RequestError

_log = logging.getLogger("cellucid_dask")
# Seconds until a scheduler that does not answer is given up.
_ANSWER = 5
# Seconds until a worker must have come; batch systems take their time.
_FIRST_WORKER = 60
# Workers begin to spill at 60 % of their limit.
_SHARE_OF_LIMIT = 0.4
_DISTRIBUTED = {"dask.distributed", "distributed"}


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
    return __version__


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
