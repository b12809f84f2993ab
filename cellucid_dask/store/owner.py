"""Naming the process that owns a lease or a scratch folder, and asking whether it still runs."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

# What identifies a boot and a container on Linux: containers may share a host's name.
_BOOT, _CONTAINER = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"


def this_process() -> dict[str, Any]:
    """Name this process so that another can ask whether it still runs."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "system": _system(), "pid": pid, "started": _started(pid)}


def is_running(owner: Mapping[str, Any]) -> bool | None:
    """Return whether a process that `this_process` named runs.

    Returns
    -------
    bool or None
        None if it cannot be known here: it ran on another host, before the last boot, or in
        another container.
    """
    if owner.get("host") != socket.gethostname() or owner.get("system") != _system():
        return None
    try:
        return bool(_started(int(owner["pid"])) == owner["started"])
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return False


def owner_tag() -> str:
    """Name this process in the name of a folder: what is created says at once whose it is."""
    pid = os.getpid()
    return f"{_digest()}-{pid}-{_started(pid):.2f}"


def is_left_by_the_dead(tag: str) -> bool:
    """Whether a process that `owner_tag` named ran in this system, and does not run any more."""
    digest, _, rest = tag.partition("-")
    pid, _, started = rest.partition("-")
    if digest != _digest() or not pid.isdecimal():
        return False
    try:
        return f"{_started(int(pid)):.2f}" != started
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True


def _digest() -> str:
    return hashlib.sha256(f"{socket.gethostname()} {_system()}".encode()).hexdigest()[:12]


def _system() -> str:
    """Name this boot and container; the time of boot where the system gives it no name."""
    try:
        return f"{_BOOT.read_text().strip()} {os.readlink(_CONTAINER)}"  # noqa: PTH115  no path
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _started(pid: int) -> float:
    """Return when a process started: on Linux in ticks since boot, which no clock step changes."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return float(psutil.Process(pid).create_time())
    return float(stat.rpartition(")")[2].split()[19])  # the name before it may hold spaces
