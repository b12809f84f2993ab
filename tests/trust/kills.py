"""Runs that are killed at random moments, and what the next run makes of what they left.

``python -m tests.trust.kills 100`` kills as many, with all their processes, in turns of `KINDS`,
most of them while they write. A fault is a target that looks whole and is not, in the eyes of
`verify` or of a reader that knows nothing of this package; a resumed export with other bytes; and
any file or folder that is left after it: unfinished files, scratch, the lease.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy import sparse

import cellucid_dask
from tests.export.crashes import make
from tests.trust.counting import Case, main
from tests.trust.runs import Place, Run, difference, faults_of, places, usual

KINDS = (
    "local", "S3", "local, scratch in S3", "S3 by s3fs", "Zarr", "Zarr in S3", "Zarr, 2 processes",
)  # fmt: skip


def kills(n_cases: int, folder: Path, kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    few, many, dice = folder / "few.h5ad", folder / "many.h5ad", random.Random(1)
    make("csr", n_cells=6_000, n_genes=36).write_h5ad(few)
    adata = make("csr", n_cells=6_000, n_genes=240)  # of which Zarr makes several chunks
    half = sparse.random(6_000, 6_000, 1e-3, "csr", random_state=np.random.default_rng(1))
    adata.obsp["connectivities"] = half + half.T
    adata.write_h5ad(many)
    sources = {kind: many if kind.startswith("Zarr") else few for kind in kinds}
    with places(folder) as new:
        known = {
            kind: usual(sources[kind], new[kind], f"whole-{KINDS.index(kind)}") for kind in kinds
        }
        for number, kind in zip(range(n_cases), cycle(kinds), strict=False):
            place, source = new[kind](str(number)), sources[kind]
            run = Run(source, place)
            if number % 10:  # the others are killed while they prepare
                run.wait_until_it_writes()
            lasted, whole = known[kind]
            time.sleep(dice.uniform(0, lasted))
            run.send(signal.SIGKILL)
            yield _look(source, place, run.end(), whole, folder / "copy")


def _look(source: Path, place: Place, ended: str, whole: dict[str, bytes], copy: Path) -> Case:
    found = place.tree()
    is_announced = any(name in found for name in place.announcements)
    outcome = {"done": "was faster", "SIGKILL": "killed"}.get(ended, ended)
    if outcome == "killed":
        begun = ".cellucid-dask/run.json" in found
        outcome += ", looks whole" if is_announced else ", begun" if begun else ", nothing yet"
    fault = ""
    if place.announcements[0] in found:
        fault = faults_of(found, whole, copy)
    elif is_announced and not found.items() >= _binaries(whole).items():
        fault = "there is a manifest and not all that it names"
    try:
        cellucid_dask.export(source, place.url, resume=True, **place.settings)
    except (cellucid_dask.ExportError, cellucid_dask.RequestError) as error:
        fault = fault or f"is not resumed: {error}"
    return Case(place.name, outcome, fault or difference(place.tree(), whole))


def _binaries(whole: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in whole.items() if name.endswith(".gz")}


if __name__ == "__main__":
    main(kills, 100)
