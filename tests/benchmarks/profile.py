"""Where the time goes: nanoseconds of CPU a stored value, by stage, on one core."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import dask

import cellucid_dask
from cellucid_dask.request.resolve import resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.source import open_source

# A stage is the time spent in and below these functions; generators count where they run.
STAGES = {
    "read and inflate chunks": [("matrix.py", "read")],
    "transpose tiles": [("transpose.py", "count"), ("transpose.py", "sort")],
    "write scratch": [("~", "<method 'write' of '_io.BufferedWriter' objects>")],
    "read scratch": [("stored_tiles.py", "read")],
    "ranges": [("gene_vectors.py", "__init__")],
    "quantize and gzip": [("gene_vectors.py", "members")],
    "put files": [("target.py", "put")],
}


def profile(source: Path, folder: Path) -> str:
    """Export once on the synchronous scheduler and return a markdown table."""
    target = tempfile.mkdtemp(prefix="profile-", dir=folder)
    watch = cProfile.Profile(time.thread_time)
    with dask.config.set(scheduler="synchronous"):
        watch.enable()
        cellucid_dask.export(source, target, progress=False)
        watch.disable()
    n_values = _n_values(source)
    rows = ["| stage | ns a stored value |", "| --- | ---: |"]
    for stage, functions in STAGES.items():
        seconds = sum(_seconds(watch, *function) for function in functions)
        rows.append(f"| {stage} | {seconds / n_values * 1e9:.1f} |")
    return "\n".join(rows)


def _n_values(source: Path) -> int:
    with open_source(source) as opened:
        matrix = resolve(opened, Settings()).matrix
    return int(getattr(matrix, "nnz", 0) or matrix.shape[0] * matrix.shape[1])


def _seconds(watch: cProfile.Profile, file: str, function: str) -> float:
    found = [
        cumulative
        for (path, _, name), (*_, cumulative, _) in pstats.Stats(watch).stats.items()  # type: ignore[attr-defined]
        if (Path(path).name, name) == (file, function)
    ]
    if not found:
        raise RuntimeError(f"{function} of {file} was not called: name the function of the stage")
    return float(sum(found))
