"""What a competent user of Dask writes in half an hour: `naive_dask.py FILE.h5ad TARGET`."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata.experimental import read_elem_lazy
from anndata.io import read_elem
from dask.delayed import delayed
from scipy import sparse

CELLS, GENES = 20_000, 100  # of a block: 8 MB of float32


def write_genes(block: Any, names: Any, folder: Path) -> list[list[Any]]:
    fields = []
    for name, values in zip(names, np.ascontiguousarray(block.T), strict=True):
        low, high = float(values.min()), float(values.max())
        codes = np.rint((values - low) * (254 / ((high - low) or 1))).astype(np.uint8)
        (folder / f"{name}.values.u8.gz").write_bytes(gzip.compress(codes.tobytes(), 6, mtime=0))
        fields.append([name, low, high])
    return fields


def main(source: str, target: str) -> None:
    folder = Path(target) / "var"
    folder.mkdir(parents=True)
    with h5py.File(source) as file:
        names = read_elem(file["var"]).index
        matrix = read_elem_lazy(file["X"], chunks=(CELLS, len(names)))
        dense = matrix.map_blocks(
            lambda block: block.toarray() if sparse.issparse(block) else block,
            dtype=np.float32,
            meta=np.empty((0, 0), np.float32),
        )
        blocks = dense.rechunk((-1, GENES)).to_delayed().ravel()
        jobs = [
            delayed(write_genes)(block, names[number * GENES : (number + 1) * GENES], folder)
            for number, block in enumerate(blocks)
        ]
        fields = [field for job in delayed(jobs).compute() for field in job]
    (Path(target) / "var_manifest.json").write_text(json.dumps({"fields": fields}))


if __name__ == "__main__":
    main(*sys.argv[1:])
