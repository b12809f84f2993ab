"""Power cuts after an export ended well: all of it is on the disk, or it did not end well.

``python -m tests.trust.power 20`` exports as often onto an ext4 of a loop device, and copies what
that has right after the end, whatever is in memory yet. Some replace an older export, some go on
with an interrupted one, some add genes. A fault is a copy without the whole export. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from unittest import mock

import anndata as ad

import cellucid_dask
from cellucid_dask import api
from tests.helpers import SETTINGS, small_anndata, tree_bytes
from tests.trust.counting import Case, main
from tests.trust.runs import difference, faults_of

IS_POSSIBLE = (
    os.geteuid() == 0 and bool(shutil.which("mkfs.ext4")) and Path("/dev/loop-control").exists()
)


def _new(adata: ad.AnnData, target: Path) -> None:
    cellucid_dask.export(adata, target, **SETTINGS)


def _replaced(adata: ad.AnnData, target: Path) -> None:
    cellucid_dask.export(small_anndata(n_cells=2_000, n_genes=120, seed=99), target, **SETTINGS)
    cellucid_dask.export(adata, target, **SETTINGS, force=True)


def _resumed(adata: ad.AnnData, target: Path) -> None:
    interrupt = mock.patch.object(api, "publish", side_effect=KeyboardInterrupt)
    with suppress(KeyboardInterrupt), interrupt:
        cellucid_dask.export(adata, target, **SETTINGS)
    cellucid_dask.export(adata, target, **SETTINGS, resume=True)


def _genes_added(adata: ad.AnnData, target: Path) -> None:
    without = ad.AnnData(obs=adata.obs, obsm=dict(adata.obsm))
    cellucid_dask.export(without, target, **SETTINGS)
    cellucid_dask.export(adata, target, **SETTINGS, genes_only=True)


KINDS: dict[str, Callable[[ad.AnnData, Path], None]] = {
    "new": _new, "replaced": _replaced, "resumed": _resumed, "genes added": _genes_added,
}  # fmt: skip


def power(n_cases: int, folder: Path) -> Iterator[Case]:
    for number, kind in zip(range(n_cases), cycle(KINDS), strict=False):
        adata, place = small_anndata(n_cells=2_000, n_genes=100, seed=number), folder / str(number)
        place.mkdir()
        _disk(place / "disk")
        with mounted(place / "disk", place / "before") as disk:
            KINDS[kind](adata, disk / "export")
            shutil.copyfile(place / "disk", place / "cut")
            whole = tree_bytes(disk / "export")
        with mounted(place / "cut", place / "after") as disk:
            found = tree_bytes(disk / "export")
        fault = difference(found, whole) or faults_of(found, whole, place / "copy")
        yield Case(kind, f"{len(whole)} files", fault)
        shutil.rmtree(place)


def _disk(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(2**26)
    subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount a disk; raises `OSError` where loop devices cannot be mounted."""
    folder.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.decode())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


if __name__ == "__main__":
    main(power, 20)
