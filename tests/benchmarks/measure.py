"""Run one command and watch the whole tree of its processes."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil

# Modules are compiled once, as those of an installed package are, also where the environment says
# that Python shall compile them at each start.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
SAMPLE_EVERY = 0.2  # seconds; looking through all processes takes time from who is measured


@dataclass(frozen=True)
class Measurement:
    """What one run took, and what it left in the ``var`` folder."""

    wall: float
    cpu: float
    peak_memory: int
    output_bytes: int
    output_objects: int


def measure(command: Sequence[str | Path], target: Path) -> Measurement:
    """Run a command that writes an export to the new folder `target`.

    Memory is the resident memory of all processes together, at the highest that was seen, or
    the highest of the largest process, which the system knows exactly; pages that processes
    share count once for each. CPU time includes children that have ended.
    """
    os.sync()  # or who waits for the disk would wait for what others have written
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=ENVIRONMENT)
        with ThreadPoolExecutor(1) as beside:
            ended = Event()
            seen = beside.submit(_peak, psutil.Process(process.pid), ended)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            ended.set()
        peak = max(seen.result(), usage.ru_maxrss * 1024)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"it ended with {process.returncode}: " + "\n".join(lines[-15:]))
    files = [path for path in (target / "var").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return Measurement(wall, usage.ru_utime + usage.ru_stime, peak, size, len(files))


def _peak(process: psutil.Process, ended: Event) -> int:
    peak = 0
    while not ended.wait(SAMPLE_EVERY):
        peak = max(peak, _resident(process))
    return peak


def _resident(process: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total
