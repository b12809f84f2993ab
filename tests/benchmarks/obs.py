"""Export the metadata of a million cells and one gene, and print what it took."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from tests.benchmarks.measure import measure

LATENT = 50


def metadata(folder: Path, cells: int, columns: int) -> Path:
    """Return the path of an atlas of one gene and many columns of every common kind."""
    path = folder / f"obs-{cells}x{columns}.h5ad"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    obs = {f"column {n}": _column(n % 5, 5 + 10 * n, cells, random) for n in range(columns)}
    adata = ad.AnnData(
        sparse.random(cells, 1, 0.1, "csr", np.float32, rng=random),
        obs=pd.DataFrame(obs, index=[f"cell-{number}" for number in range(cells)]),
        obsm={
            "X_umap": random.normal(size=(cells, 2)).astype(np.float32),
            "X_pca": random.normal(size=(cells, LATENT)).astype(np.float32),
        },
    )
    unfinished = path.with_name(f"unfinished-{path.name}")
    adata.strings_to_categoricals = lambda *_: None  # type: ignore[method-assign]  text stays text
    adata.write_h5ad(unfinished, compression="gzip", compression_opts=4)
    return unfinished.rename(path)


def _column(kind: int, n_groups: int, cells: int, random: np.random.Generator) -> Any:
    """Draw a category, text, a fraction, an integer or a flag a cell."""
    groups = random.integers(0, n_groups, cells)
    names = np.array([f"group {number}" for number in range(n_groups)], dtype=object)
    match kind:
        case 0:
            return pd.Categorical.from_codes(groups, names)
        case 1:
            return names[groups]
        case 2:
            return random.random(cells)
        case 3:
            return groups
    return groups % 2 == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.obs", description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    options = parser.parse_args()
    source = metadata(options.cache.absolute(), options.cells, options.columns)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        command = (sys.executable, "-m", "cellucid_dask", "export", source, Path(folder) / "out")
        run = measure((*command, "--no-progress"), Path(folder) / "out")
    print(f"{run.wall:.1f} s wall, {run.cpu:.1f} s CPU, {run.peak_memory / 1e6:,.0f} MB peak")


if __name__ == "__main__":
    main()
