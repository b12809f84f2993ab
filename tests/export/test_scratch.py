"""Scratch is gone after every kind of end, and its place is checked before work."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.cli import commands as cli
from cellucid_dask.store.scratch import open_scratch
from cellucid_dask.store.target import Target, Writer


@pytest.fixture(scope="module")
def tall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of several row blocks, so that it goes through scratch."""
    path = tmp_path_factory.mktemp("tall") / "tall.h5ad"
    random = np.random.default_rng(0)
    matrix = sparse.random(60_000, 400, 0.1, format="csr", dtype=np.float32, random_state=random)
    umap = random.random((60_000, 2), np.float32)
    ad.AnnData(matrix, obsm={"X_umap": umap}).write_h5ad(path, compression="gzip")
    assert cellucid_dask.plan(path).route == "scratch"
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def export(source: Path, target: Path, scratch: Path) -> Any:
    return cellucid_dask.export(source, target, scratch=str(scratch), progress=False)


def start(source: Path, target: Path, scratch: Path) -> subprocess.Popen[str]:
    """Start a run, and return once it has begun to write to scratch."""
    command = [sys.executable, "-m", "cellucid_dask", "export", str(source), str(target)]
    process = subprocess.Popen(
        [*command, "--scratch", str(scratch)], stderr=subprocess.PIPE, text=True
    )
    while not list(scratch.glob("*/*.tiles")):
        assert process.poll() is None
        time.sleep(0.005)
    return process


def test_nothing_is_left_after_success(tall: Path, tmp_path: Path, scratch: Path) -> None:
    result = export(tall, tmp_path / "out", scratch)
    assert result.scratch_bytes > 60_000 * 400 * 0.1 * 6
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("filled", [0.05, 1.0])
def test_what_a_dense_matrix_takes_is_told_from_a_few_of_its_rows(
    tmp_path: Path, scratch: Path, filled: float
) -> None:
    random = np.random.default_rng(1)
    matrix = random.random((20_000, 150), np.float32)
    matrix[random.random(matrix.shape) >= filled] = 0
    path = tmp_path / "dense.h5ad"
    ad.AnnData(matrix, obsm={"X_umap": random.random((20_000, 2))}).write_h5ad(path)
    plan = cellucid_dask.plan(path)
    assert plan.route == "scratch"
    found = export(path, tmp_path / "out", scratch).scratch_bytes
    assert found < matrix.nbytes * (0.09 if filled < 1 else 1.01)
    assert abs(plan.scratch_bytes - found) < 0.05 * found


def test_nothing_is_left_when_the_target_fills_up(
    tall: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Target, _: Any) -> None:
        with self.explaining_writes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Target, "put", full)
    with pytest.raises(cellucid_dask.ExportError, match="No space left"):
        export(tall, tmp_path / "out", scratch)
    assert not list(scratch.iterdir())
    assert not list((tmp_path / "out").glob("*.json"))


def test_nothing_is_left_when_a_gene_cannot_be_written(
    tall: Path,
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put, target = Writer.put, tmp_path / "out"
    waiting: list[Path] = []

    def fill_up(self: Writer, files: Mapping[str, bytes]) -> None:
        if any(name.startswith("var/") for name in files):
            waiting.extend(scratch.glob("*/*.tiles"))
            with self._target.explaining_writes():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, files)

    monkeypatch.setattr(Writer, "put", fill_up)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of this process stay
    arguments = ["export", str(tall), str(target), "--scratch", str(scratch), "--no-progress"]
    assert cli.main(arguments) == 1
    assert "No space left" in capsys.readouterr().err
    assert waiting, "the genes were not gathered from scratch"
    assert not list(scratch.iterdir())
    assert list(target.rglob("*.bin.gz"))
    assert not list(target.glob("*.json"))


def test_nothing_is_left_after_terminate(tall: Path, tmp_path: Path, scratch: Path) -> None:
    process = start(tall, tmp_path / "out", scratch)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not list(scratch.iterdir())
    assert not list((tmp_path / "out").glob("*.json"))


def test_next_run_removes_what_a_killed_one_left(tall: Path, tmp_path: Path, scratch: Path) -> None:
    process = start(tall, tmp_path / "out", scratch)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert list(scratch.iterdir())
    options = {"scratch": str(scratch), "progress": False, "resume": True}
    cellucid_dask.export(tall, tmp_path / "out", **options)
    assert not list(scratch.iterdir())


def test_scratch_of_a_living_run_is_left_alone(tall: Path, tmp_path: Path, scratch: Path) -> None:
    process = start(tall, tmp_path / "other", scratch)
    (theirs,) = scratch.iterdir()
    process.send_signal(signal.SIGSTOP)
    try:
        export(tall, tmp_path / "out", scratch)
        assert theirs.is_dir()
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)
    assert process.returncode == 0


def test_no_such_directory(tall: Path, tmp_path: Path) -> None:
    with pytest.raises(cellucid_dask.RequestError, match="not a directory"):
        export(tall, tmp_path / "out", tmp_path / "nowhere")
    assert not list((tmp_path / "out").glob("**/*"))


def test_directory_that_cannot_be_written_to(
    tall: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # whom no mode stops
        access = os.access
        monkeypatch.setattr(
            os, "access", lambda path, mode: path != str(scratch) and access(path, mode)
        )
    scratch.chmod(0o500)
    with pytest.raises(cellucid_dask.RequestError, match="not a directory that can be written to"):
        export(tall, tmp_path / "out", scratch)
    assert not list((tmp_path / "out").glob("**/*"))


def test_disk_too_small(
    tall: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 0, 10**6))
    with pytest.raises(cellucid_dask.RequestError, match=r"needs 0\.\d\d GB.*scratch"):
        export(tall, tmp_path / "out", scratch)
    assert not list((tmp_path / "out").glob("**/*"))


@pytest.mark.parametrize("needed", [1, None])
@pytest.mark.parametrize("kind", ["local", "store"])
def test_scratch_says_whose_it_is_from_its_first_moment(
    tmp_path: Path, kind: str, needed: int | None
) -> None:
    """Of dead processes of this system it is removed; of others nobody can tell."""
    url = str(tmp_path) if kind == "local" else f"memory:/{tmp_path}"
    fs, folder = fsspec.core.url_to_fs(url)
    with open_scratch(url, None, 1, {}) as living:
        assert living is not None
        mine = living.path().rpartition("/")[2]
        digest = mine.split("-")[3]
        dead = f"cellucid-dask-scratch-{digest}-{2**22 - 1}-5.00-abcdef01"
        strange = f"cellucid-dask-scratch-{digest[::-1]}-{2**22 - 1}-5.00-abcdef01"
        for name in (dead, strange, "cellucid-dask-scratch-x", "other"):
            fs.makedirs(f"{folder}/{name}", exist_ok=True)
            fs.pipe_file(f"{folder}/{name}/1.tiles", b"1")
        living.write("1.tiles", [np.arange(3)])
        with open_scratch(url, None, needed, {}):  # as a run that needs no scratch any more
            left = {name.rpartition("/")[2] for name in fs.ls(folder, detail=False)}
        assert {mine, strange, "cellucid-dask-scratch-x", "other"} <= left
        assert dead not in left
