"""The format cellucid-zarr beside Cellucid's own ``prepare()``: time and memory, or every value.

``prepare()`` runs in an environment of its own, whose Python is named with ``--python``:

    python -m venv /tmp/cellucid && /tmp/cellucid/bin/pip install cellucid==0.9.5
    python -m tests.benchmarks.ready --python /tmp/cellucid/bin/python
    python -m tests.benchmarks.ready --python /tmp/cellucid/bin/python --compare a.h5ad b.h5ad
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr

from tests.benchmarks.data import dataset
from tests.benchmarks.measure import Measurement, measure
from tests.ready import metadata

PREPARE = """
import sys, anndata, cellucid
source, target = sys.argv[1:]
data = anndata.read_h5ad(source)
cellucid.prepare(target, format="zarr", data=data, dataset_id="cells", dataset_name="Cells")
"""


def ours(source: Path, target: Path, *more: str) -> list[str | Path]:
    return [
        sys.executable, "-m", "cellucid_dask", "export", source, target,
        "--format", "cellucid-zarr", "--dataset-id", "cells", "--dataset-name", "Cells",
        "--no-page", "--no-progress", *more,
    ]  # fmt: skip


def differences(one: Path, other: Path) -> list[str]:
    """Return what differs between two stores, of their metadata and of their values."""
    found, expected = metadata(one), metadata(other)
    paths = sorted(path for path in found.keys() | expected.keys() if "cellucid_dask" not in path)
    unlike = [path for path in paths if found.get(path) != expected.get(path)]
    groups = [zarr.open_group(each, mode="r") for each in (one, other)]
    for path in paths:
        if path.endswith("/.zarray") and path not in unlike:
            values: Any = [np.asarray(each[path.removesuffix("/.zarray")][...]) for each in groups]
            if not np.array_equal(values[0], values[1], values[0].dtype.kind == "f"):
                unlike.append(f"values of {path.removesuffix('/.zarray')}")
    return unlike


def compare(python: Path, sources: list[Path], folder: Path) -> None:
    for source in sources:
        theirs, mine = folder / f"{source.stem}-theirs.zarr", folder / f"{source.stem}.zarr"
        measure([python, "-c", PREPARE, source, theirs], theirs)
        graph = "obsp/connectivities/.zgroup" in metadata(theirs)
        measure(ours(source, mine, *(["--connectivities", "connectivities"] * graph)), mine)
        unlike = differences(mine, theirs)
        print(f"{source.name}: {len(unlike)} differences {json.dumps(unlike)}")


def time(python: Path | None, options: argparse.Namespace, folder: Path) -> None:
    source = dataset(options.cache.absolute(), options.cells, options.genes)
    budget = ["--memory-budget", options.memory_budget] if options.memory_budget else []
    commands = {"ours": ours(source, folder / "ours.zarr", *budget)}
    if python is not None:
        commands["prepare()"] = [python, "-c", PREPARE, source, folder / "prepare().zarr"]
    runs: dict[str, list[Measurement]] = {name: [] for name in commands}
    sizes: dict[str, list[int]] = {}
    for _ in range(options.repeat):  # in turns, since machines change their speed
        for name, command in commands.items():
            target = folder / f"{name}.zarr"
            runs[name].append(measure(command, target))
            sizes[name] = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
            shutil.rmtree(target)
    walls = {name: median(run.wall for run in of_name) for name, of_name in runs.items()}
    print(f"medians of {options.repeat}\n")
    print("| | wall s | CPU s | peak MB | MB | files | times as long |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, of_name in runs.items():
        print(
            f"| {name} | {walls[name]:.1f} | {median(run.cpu for run in of_name):.1f} | "
            f"{max(run.peak_memory for run in of_name) / 1e6:,.0f} | "
            f"{sum(sizes[name]) / 1e6:,.1f} | {len(sizes[name]):,} | "
            f"{walls[name] / walls['ours']:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--memory-budget", help="of ours")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--python", type=Path, help="of an environment with cellucid==0.9.5")
    parser.add_argument("--compare", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ready-"))
    try:
        if options.compare:
            compare(options.python, options.compare, folder)
        else:
            time(options.python, options, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
