"""Reading that can be held up from outside; a process is prepared by importing this module.

The folder named by ``SLOW_READS`` controls it: each read leaves a file there, and the third and
later ones wait while there is a file ``hold``, for ever if there is one named ``hang``, and compute
for as many seconds as the file ``compute`` says.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import cellucid_dask.api  # noqa: F401  a worker has it all before it is given a task
from cellucid_dask.source.matrix import SparseMatrix

_FREE = 2  # reads that are never held up
_read = SparseMatrix.read


def _slowly(self: SparseMatrix, rows: slice, columns: slice) -> Any:
    control = Path(os.environ["SLOW_READS"])
    (control / f"read-{uuid.uuid4().hex}").touch()
    if len(list(control.glob("read-*"))) > _FREE:
        while (control / "hold").exists():
            _compute(0.01)  # what is held up is at work, and no export gives it up
            time.sleep(0.05)
        if (control / "hang").exists():
            threading.Event().wait()
        if (control / "compute").exists():
            _compute(float((control / "compute").read_text()))
    return _read(self, rows, columns)


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


SparseMatrix.read = _slowly  # type: ignore[method-assign]


def prepare() -> None:
    """Do nothing: a process that imports this is prepared."""
