"""Objects a second of the whole put path of encode tasks, beside raw ``fs.pipe`` of the same.

``python -m tests.benchmarks.objects`` on S3 (moto) and GCS (fake-gcs-server), on this machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import dask
import numpy as np
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellucid_dask.engine.genes import GeneJob, encode_tiles, transpose
from cellucid_dask.store.target import Target
from tests.services.stores import servers

N_CELLS, N_GENES, ROUNDS = 100_000, 1000, 3


def _job(url: str, options: dict[str, object]) -> GeneJob:
    files = tuple(f"var/g{i}.values.u8.gz" for i in range(N_GENES))
    return GeneJob(
        target=Target.of(url, options), files=files, n_cells=N_CELLS, bits=8, level=6,
        tile_values=200_000, gather_memory=64 * 2**20, batch_memory=64 * 2**20,
    )  # fmt: skip


def _encode(job: GeneJob, block: sparse.csc_matrix, first: int) -> object:
    return encode_tiles(job, [transpose(job, block, 0, None)], first)


def _put_by_tasks(job: GeneJob, blocks: list[sparse.csc_matrix]) -> float:
    began = time.perf_counter()
    tasks, first = [], 0
    for block in blocks:
        tasks.append(dask.delayed(_encode)(job, block, first))
        first += block.shape[1]
    dask.compute(*tasks, scheduler="threads", num_workers=2)
    return time.perf_counter() - began


def main() -> None:
    """Measure both on both servers and print them."""
    random = np.random.default_rng(0)
    matrix = sparse.random(N_CELLS, N_GENES, 0.06, format="csc", dtype=np.float32, rng=random)
    blocks = [matrix[:, start : start + 125] for start in range(0, N_GENES, 125)]
    for server in (servers.moto, servers.gcs):
        with server() as store:
            ours, raw, nbytes = [], [], 0
            for _ in range(ROUNDS):
                bucket = store.bucket()
                ours.append(_put_by_tasks(_job(f"{bucket}/ours", store.options), blocks))
                store.fs.invalidate_cache()
                found = store.fs.cat(store.fs.find(f"{bucket}/ours"))
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
