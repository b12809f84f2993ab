"""How many tasks run at once here, and how much memory they may take together."""

from __future__ import annotations

import ctypes
import resource
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import psutil
from dask.system import CPU_COUNT

from cellucid_dask import cluster
from cellucid_dask.errors import RequestError

# A default that large exports do not gain from exceeding.
_MOST_BY_DEFAULT = 2**30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in malloc.h
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Resources:
    """The scheduler's workers.

    Attributes
    ----------
    n_workers
        Tasks in flight at once.
    memory
        Bytes that these tasks may hold together.
    client
        The distributed client, if one is active.
    """

    n_workers: int
    memory: int
    client: Any = None

    def shares_disk(self, scratch: str | None) -> bool:
        """Whether all workers reach one scratch: a store, or a disk they all see."""
        if self.client is None or (scratch is not None and "://" in scratch):
            return True
        if scratch is not None and not Path(scratch).is_dir():
            raise RequestError(f"Scratch {scratch} is not a directory that can be written to.")
        with tempfile.NamedTemporaryFile(dir=scratch, prefix="cellucid-dask-probe-") as probe:
            return cluster.find_blind(self.client, probe.name) is None


def find_resources(memory_budget: int | None) -> Resources:
    """Look at the active scheduler and the machine."""
    client = cluster.active_client()
    if client is not None:
        n_threads, memory = cluster.find_workers(client)
        return Resources(n_threads, memory_budget or memory, client)
    scheduler = dask.config.get("scheduler", None)
    alone = str(scheduler).lower() in {"sync", "synchronous", "single-threaded"}
    n_workers = 1 if alone else int(dask.config.get("num_workers", None) or CPU_COUNT)
    return Resources(n_workers, memory_budget or min(machine_memory() // 4, _MOST_BY_DEFAULT))


def machine_memory() -> int:
    """Bytes this process may take: the machine's free memory, or a smaller limit set on it."""
    limits: list[int] = [psutil.virtual_memory().available]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def this_process() -> dict[str, Any]:
    """Name this process so that another can ask whether it still runs."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def is_running(owner: Mapping[str, Any]) -> bool | None:
    """Tell whether a process that `this_process` named runs; ``None`` if on another host."""
    if owner["host"] != socket.gethostname():
        return None
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False


def peak_rss() -> int:
    """Return the largest resident set this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return peak * unit


def current_rss() -> int:
    """Return what this process holds now, in bytes."""
    rss: int = psutil.Process().memory_info().rss
    return rss


def keep_memory_tight() -> None:
    """Have the C library keep some freed memory, and return large blocks (glibc only).

    Left alone it raises both sizes as it goes, and what a process holds then creeps up
    with the number of blocks it has read. Keeping less than this costs time: pages that
    are returned must be cleared when they come back.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 32 * 2**20)


def release_memory() -> None:
    """Give back freed memory that the C library keeps (glibc only; elsewhere it does not)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
