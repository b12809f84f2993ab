"""Export a neighbor graph of a million cells, and print what it took beyond an export without."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from tests.benchmarks.measure import Measurement, measure

REACH = 50_000  # neighbors are drawn among so many cells around each


def graph(folder: Path, cells: int, neighbors: int) -> Path:
    """Return the path of an atlas of no genes and a graph, made unless it is there already.

    Every cell has `neighbors` others, near it in an order of which the file's is a
    random permutation: like kNN, and as hard to sort and compress.
    """
    path = folder / f"graph-{cells}x{neighbors}.h5ad"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    order = random.permutation(cells).astype(np.int32)
    step = random.integers(1, min(REACH, cells), (cells, neighbors), dtype=np.int32)
    near = order[(order.argsort().astype(np.int32)[:, None] + step) % cells]
    near.sort(axis=1)
    data = random.random(near.size, dtype=np.float32)
    indptr = np.arange(0, near.size + 1, neighbors)
    adata = ad.AnnData(
        obs=pd.DataFrame(index=[f"cell-{number}" for number in range(cells)]),
        obsm={"X_umap": random.normal(size=(cells, 2)).astype(np.float32)},
        obsp={"distances": sparse.csr_matrix((data, near.ravel(), indptr), (cells, cells))},
    )
    unfinished = path.with_name(f"unfinished-{path.name}")
    adata.write_h5ad(unfinished, compression="gzip", compression_opts=4)
    return unfinished.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.edges", description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--neighbors", type=int, default=30)
    parser.add_argument("--memory-budget", default="1GiB")
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    options = parser.parse_args()
    source = graph(options.cache.absolute(), options.cells, options.neighbors)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        runs = {
            key: _run(source, Path(folder) / key, key, options.memory_budget)
            for key in ("none", "distances")
        }
        for key, run in runs.items():
            print(f"{key:10} {run.wall:6.1f} s wall {run.cpu:6.1f} s CPU {_peak(run):>10}")
        for file in sorted((Path(folder) / "distances" / "connectivity").iterdir()):
            print(f"{file.name:16} {file.stat().st_size / 1e6:8.1f} MB")


def _run(source: Path, target: Path, key: str, budget: str) -> Measurement:
    command = (sys.executable, "-m", "cellucid_dask", "export", source, target)
    options = ("--connectivities", key, "--memory-budget", budget, "--no-progress")
    return measure((*command, *options), target)


def _peak(run: Measurement) -> str:
    return f"{run.peak_memory / 1e6:,.0f} MB peak"


if __name__ == "__main__":
    main()
