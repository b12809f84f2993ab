"""Memory of this process and of the machine."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in malloc.h
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int:
    """Return the bytes this process may take: free memory, or a smaller limit of the process."""
    limits: list[int] = [psutil.virtual_memory().available]
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def peak_rss() -> int:
    """Return the largest resident set this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return peak * unit


def current_rss() -> int:
    """Return the resident set of this process, in bytes."""
    rss: int = psutil.Process().memory_info().rss
    return rss


def limit_malloc_cache() -> None:
    """Fix how much freed memory the C library keeps (glibc only).

    By default glibc raises both thresholds as it runs, and resident memory then grows with the
    number of blocks read. Lower thresholds cost time: the kernel clears returned pages.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 16 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 32 * 2**20)


def release_memory() -> None:
    """Return freed memory that the C library keeps to the system (glibc only)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
