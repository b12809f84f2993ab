"""How many tasks run at once, and how much memory they may take together."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from dask.system import CPU_COUNT

from cellucid_dask.errors import RequestError
from cellucid_dask.runtime import cluster
from cellucid_dask.runtime.memory import machine_memory

# Larger budgets do not make exports faster.
_MAX_DEFAULT_BUDGET = 2**30


@dataclass(frozen=True)
class Resources:
    """What tasks may use.

    Attributes
    ----------
    n_workers
        Number of tasks that run at once.
    memory
        Bytes that these tasks may take together.
    client
        The distributed client, if one is active.
    """

    n_workers: int
    memory: int
    client: Any = None

    def shares_disk(self, scratch: str | None) -> bool:
        """Whether all workers see one local folder; ``None`` is the system's.

        Raises
        ------
        RequestError
            `scratch` is not a directory.
        """
        if self.client is None:
            return True
        if scratch is not None and not Path(scratch).is_dir():
            raise RequestError(f"Scratch {scratch} is not a directory that can be written to.")
        with tempfile.NamedTemporaryFile(dir=scratch, prefix="cellucid-dask-probe-") as probe:
            return cluster.find_blind(self.client, probe.name) is None


def find_resources(memory_budget: int | None) -> Resources:
    """Measure the active scheduler and the machine; `memory_budget` is in bytes."""
    client = cluster.active_client()
    if client is not None:
        n_threads, memory = cluster.find_workers(client)
        return Resources(n_threads, memory_budget or memory, client)
    scheduler = dask.config.get("scheduler", None)
    synchronous = str(scheduler).lower() in {"sync", "synchronous", "single-threaded"}
    n_workers = 1 if synchronous else int(dask.config.get("num_workers", None) or CPU_COUNT)
    return Resources(n_workers, memory_budget or min(machine_memory() // 4, _MAX_DEFAULT_BUDGET))
