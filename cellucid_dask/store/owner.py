"""Naming the process that owns a lease or a scratch folder, and asking whether it still runs."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import psutil


def this_process() -> dict[str, Any]:
    """Name this process so that another can ask whether it still runs."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def is_running(owner: Mapping[str, Any]) -> bool | None:
    """Return whether a process that `this_process` named runs; ``None`` if on another host."""
    if owner["host"] != socket.gethostname():
        return None
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False
