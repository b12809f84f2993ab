"""Objects a second of an export of genes, beside raw ``fs.pipe`` of the same.

``python -m tests.benchmarks.objects`` on S3 (moto) and GCS (fake-gcs-server), on this machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parents[1]))

import cellucid_dask
from tests.services.stores import servers

N_CELLS, N_GENES, ROUNDS = 100_000, 1000, 3


def _export(adata: ad.AnnData, url: str, options: dict[str, Any]) -> float:
    began = time.perf_counter()
    cellucid_dask.export(adata, url, genes_only=True, progress=False, storage_options=options)
    return time.perf_counter() - began


def main() -> None:
    """Measure both on both servers and print them."""
    random = np.random.default_rng(0)
    matrix = sparse.random(N_CELLS, N_GENES, 0.06, format="csc", dtype=np.float32, rng=random)
    adata = ad.AnnData(matrix)
    for server in (servers.moto, servers.gcs):
        with server() as store:
            ours, raw, nbytes = [], [], 0
            for _ in range(ROUNDS):
                bucket = store.bucket()
                ours.append(_export(adata, f"{bucket}/ours", store.options))
                store.fs.invalidate_cache()
                found = store.fs.cat(store.fs.find(f"{bucket}/ours/var"))
                same = {path.replace("/ours/", "/raw/"): data for path, data in found.items()}
                nbytes = sum(map(len, same.values())) // len(same)
                began = time.perf_counter()
                store.fs.pipe(same)
                raw.append(time.perf_counter() - began)
            rates = N_GENES / np.median(ours), N_GENES / np.median(raw)
            print(
                f"{store.kind}: {nbytes:,} bytes an object; ours {rates[0]:.0f}, "
                f"raw {rates[1]:.0f} objects a second: {rates[0] / rates[1]:.0%}"
            )


if __name__ == "__main__":
    main()
