"""Export a million cells with thirty columns of obs, and print what it took."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

import cellucid_dask
from tests.benchmarks.measure import measure

LATENT = 50  # columns
KINDS = 6  # of columns, five of each


def atlas(folder: Path, cells: int) -> Path:
    """Return the path of an atlas of one gene and many columns, made unless it is there."""
    path = folder / f"obs-{cells}.h5ad"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    text, columns = {}, {}
    for number in range(5):
        n_categories = (3, 20, 100, 500, 2000)[number]
        codes = random.integers(0, n_categories, (2, cells))
        names = np.array([f"group {each}" for each in range(n_categories)], object)
        columns[f"category {number}"] = pd.Categorical.from_codes(codes[0], names)
        columns[f"flag {number}"] = random.random(cells) < 0.3
        columns[f"count {number}"] = random.integers(0, 10_000, cells)
        columns[f"score {number}"] = random.normal(size=cells)
        columns[f"share {number}"] = random.random(cells, dtype=np.float32)
        text[f"text {number}"] = names[codes[1]]
    adata = ad.AnnData(
        X=sparse.random(cells, 1, 0.1, "csr", dtype=np.float32, random_state=random),
        obs=pd.DataFrame(columns, index=[f"cell-{number}" for number in range(cells)]),
        obsm={
            "X_umap": random.normal(size=(cells, 2)).astype(np.float32),
            "X_scvi": random.normal(size=(cells, LATENT)).astype(np.float32),
        },
    )
    unfinished = path.with_name(f"unfinished-{path.name}")
    adata.write_h5ad(unfinished, compression="gzip", compression_opts=1)
    with h5py.File(unfinished, "r+") as file:  # anndata would make categories of repeated text
        for key, values in text.items():
            write_elem(file["obs"], key, values)
        order = [*file["obs"].attrs["column-order"], *text]
        file["obs"].attrs["column-order"] = order
    return unfinished.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.obs", description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--profile", action="store_true", help="name the slowest functions instead")
    options = parser.parse_args()
    source = atlas(options.cache.absolute(), options.cells)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        target = Path(folder) / "export"
        if options.profile:
            watch = cProfile.Profile()
            watch.runcall(cellucid_dask.export, source, target, progress=False)
            pstats.Stats(watch).sort_stats("tottime").print_stats(15)
            return
        command = (sys.executable, "-m", "cellucid_dask", "export", source, target)
        run = measure((*command, "--no-progress"), target)
        size = sum(file.stat().st_size for file in (target / "obs").iterdir())
        print(
            f"{options.cells:,} cells x {5 * KINDS} columns: {run.wall:.1f} s wall, "
            f"{run.cpu:.1f} s CPU, {run.peak_memory / 1e6:,.0f} MB peak, obs/ {size / 1e6:,.1f} MB"
        )


if __name__ == "__main__":
    main()
