"""An export that ended well survives a power cut: what is on the disk then is all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import cellucid_dask
from tests.helpers import SETTINGS, small_anndata
from tests.viewer_reader import check

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists(),
    reason="needs root, mkfs.ext4 and loop devices",
)


def _run(*command: object) -> bool:
    done = subprocess.run([*map(str, command)], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    if not _run("mount", "-o", "loop", image, folder):
        pytest.skip("loop devices cannot be mounted here")
    try:
        yield folder
    finally:
        _run("umount", "-l", folder)


@pytest.mark.parametrize("turn", range(3))
def test_what_is_on_the_disk_is_the_whole_export(tmp_path: Path, turn: int) -> None:
    disk, cut = tmp_path / "disk", tmp_path / "cut"
    with disk.open("wb") as file:
        file.truncate(2**26)
    assert _run("mkfs.ext4", "-q", disk)
    adata = small_anndata(n_cells=2_000, n_genes=100, seed=turn)
    with mounted(disk, tmp_path / "mount") as folder:
        cellucid_dask.export(adata, folder / "export", **SETTINGS)
        shutil.copyfile(disk, cut)  # what the disk has at this moment, whatever is in memory
    with mounted(cut, tmp_path / "after") as folder:
        found = check(folder / "export")
        assert found.genes == list(adata.var_names)
        assert cellucid_dask.verify(folder / "export").ok
