"""A Dask cluster: its client, its workers, and what these see and may use."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread
from typing import Any

import dask

from cellucid_dask._version import __version__
from cellucid_dask.errors import RequestError
from cellucid_dask.runtime.answers import ask
from cellucid_dask.runtime.patience import run_into
from cellucid_dask.runtime.supervise import compute_all
from cellucid_dask.secrets import shown

_log = logging.getLogger("cellucid_dask")
# Seconds to wait for the answer of a scheduler.
_ANSWER = 5
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
def blocking_client(timeout: float = _ANSWER) -> Iterator[None]:
    """Make blocking calls safe: inside the block an asynchronous client is replaced.

    Its replacement is synchronous, and talks to the same scheduler from an event loop of its own.

    Parameters
    ----------
    timeout
        Seconds to wait for the scheduler's answer.

    Raises
    ------
    RequestError
        The scheduler runs in the event loop that the call blocks.
    """
    client = active_client()
    if client is None and dask.config.get("scheduler", None) in _DISTRIBUTED:
        with dask.config.set(scheduler=None):  # left behind by a client closed out of order
            yield
        return
    if client is None or not client.asynchronous:
        yield
        return
    try:
        blocking = _client(
            client.scheduler.address, timeout, security=client.security, set_as_default=False,
            asynchronous=False,
        )  # fmt: skip
    except (OSError, AttributeError) as error:
        raise RequestError(
            "The asynchronous Dask client's scheduler cannot answer while this call blocks its "
            "event loop: await asyncio.to_thread(cellucid_dask.export, ...) instead."
        ) from error
    with closing(blocking), blocking.as_current():
        yield


@contextmanager
def closing(client: Any) -> Iterator[None]:
    """Close a client after the block; what its scheduler does not answer then is let be."""
    try:
        yield
    finally:
        with suppress(OSError, RuntimeError):
            client.close()


@contextmanager
def _explained_import() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise RequestError(
            "Dask workers need packages that are not installed: "
            'pip install "cellucid-dask[cluster]".'
        ) from None


@_explained_import()
def connect(address: str, timeout: float = _ANSWER) -> Any:
    """Return a client of a running scheduler, which must answer within `timeout` seconds.

    Raises
    ------
    RequestError
        No scheduler answers at `address`, or distributed is not installed.
    """
    try:
        return _client(address, timeout)
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"No Dask scheduler answers at {shown(address)}: check the address, such as "
            "tcp://10.0.0.1:8786, and that it runs (dask scheduler)."
        ) from error


def _client(address: str, timeout: float, **how: Any) -> Any:
    """Make a client, in a thread: a scheduler that is frozen takes a connection, and no more.

    Raises
    ------
    OSError, ValueError, TypeError
        No scheduler answers in time, or the address is none.
    """
    import distributed  # noqa: F401, PLC0415  its time is not the scheduler's

    made: Future[Any] = Future()
    call = partial(_made, address, timeout=timeout, **how)
    Thread(target=run_into, args=(call, made), daemon=True, name="client").start()
    try:
        return made.result(2 * timeout)  # Dask itself should have given up by then
    except BaseException:
        made.add_done_callback(_close_late)
        raise


def _close_late(made: Future[Any]) -> None:
    """Close a client that nobody waits for any more."""
    with suppress(Exception):  # it was not made after all, or its scheduler has gone
        made.result().close()


def _made(*args: Any, **options: Any) -> Any:
    """Make a client that is closed at once if that fails.

    Collected as garbage, a client that failed closes itself, at any time: also while another
    starts, which has the lock that this needs.
    """
    from distributed import Client  # noqa: PLC0415  slow to import

    client = Client.__new__(Client)
    try:
        Client.__init__(client, *args, **options)
    except BaseException:
        with suppress(Exception):  # it may have failed before there was anything to close
            client.close()
        raise
    return client


@_explained_import()
def start(n_workers: int) -> Any:
    """Start worker processes and return their client; they end when it is closed.

    They accept nobody else: a scheduler runs what it is sent, and every user of the machine
    reaches its ports.

    Raises
    ------
    RequestError
        They cannot be started, or distributed or cryptography is not installed.
    """
    own = dask.config.get("distributed.worker.preload", [])
    try:
        return _made(
            security=True,  # with temporary certificates
            n_workers=n_workers, threads_per_worker=1, dashboard_address=None,
            silence_logs=logging.CRITICAL,  # the run itself reports what ends it
            preload=[__name__, *([own] if isinstance(own, str) else own)],
        )  # fmt: skip
    except (OSError, RuntimeError) as error:
        raise RequestError(
            "Dask could not start worker processes on this machine: leave out --n-workers to use "
            "threads, or see to its temporary folder, free memory and limits (ulimit -a)."
        ) from error


def dask_setup(_: Any) -> None:
    """Ignore Ctrl-C in a worker: terminals send it to every process; ours is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def find_workers(client: Any, *, version: str = __version__) -> tuple[int, int]:
    """Measure the workers.

    Parameters
    ----------
    client
        The cluster's client.
    version
        What the workers must have of this package.

    Returns
    -------
    tuple
        How many tasks run at once, and how many bytes they may take together.

    Raises
    ------
    RequestError
        One has another version of the package.
    ExportError
        No worker comes, or one does not answer.
    """
    _wait_for_workers(client)
    probes = ask(client, lambda: client.run(_probe(), on_error="ignore"))
    for address, (theirs, *_) in probes.items():
        if theirs != version:
            has = f"cellucid-dask {theirs}" if theirs else "no cellucid-dask"
            raise RequestError(
                f"Worker {address} has {has}, and this is {version}: install the same version "
                "everywhere."
            )
    workers = _workers(client)
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
        raise RequestError("The Dask workers disconnected immediately: restart them.")
    _log.info("%d workers with %d threads", len(workers), n_threads)
    return n_threads, int(min(shares) * _SHARE_OF_LIMIT) * n_threads


def check_sees(client: Any, path: str) -> None:
    """Check that every worker sees a local path.

    Raises
    ------
    RequestError
        A worker does not.
    """
    if blind := find_blind(client, path):
        raise RequestError(
            f"Dask worker {blind} cannot access {path}: choose a location that every worker "
            "can access, a shared folder or a store such as s3://bucket/atlas."
        )


def find_blind(client: Any, path: str) -> str | None:
    """Return the address of a worker that does not see a local path, if there is one."""
    exists = ask(client, lambda: client.run(os.path.exists, path, on_error="ignore"))
    return next((worker for worker, seen in exists.items() if seen is False), None)


def _workers(client: Any) -> dict[str, Any]:
    known = ask(client, lambda: client.scheduler.identity(n_workers=-1))
    workers: dict[str, Any] = known["workers"]
    return workers


def _wait_for_workers(client: Any) -> None:
    """Wait for a worker; a waiting task makes an adaptive cluster start one."""
    if not _workers(client):
        _log.info("waiting for a worker")
        compute_all(client, [dask.delayed(_probe())()])


def _probe() -> Callable[[], tuple[str | None, str, int]]:
    """Return a function that also workers without this package can run."""

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
