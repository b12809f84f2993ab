"""What a run says of itself while it goes on, and where."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.cli.commands import main
from cellucid_dask.runtime import progress as module
from cellucid_dask.runtime.progress import Progress
from tests.helpers import small_anndata

LAST = re.compile(r"exporting: 12 of 12 genes, [\d.]+ (B|kiB), 0:\d\d:\d\d$")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Progress]:
    """Every progress that is made."""
    made: list[Progress] = []

    class Recorded(Progress):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(module, "Progress", Recorded)
    return made


def check_counts(progress: Progress, target: Path) -> None:
    files = list((target / "var").iterdir())
    assert (progress.done, progress.total) == (len(files), len(files))
    assert progress.nbytes == sum(file.stat().st_size for file in files)
    assert progress.blocks == progress.n_blocks


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("chunks", [(10, 12), (40, 5), (10, 5)], ids=["rows", "columns", "both"])
def test_local_counts(
    tmp_path: Path, recorded: list[Progress], scheduler: str,
    chunks: tuple[int, int]
) -> None:  # fmt: skip
    adata = small_anndata(form="dense")
    adata.X = da.from_array(adata.X, chunks=chunks)
    with dask.config.set(scheduler=scheduler):
        cellucid_dask.export(adata, tmp_path / "out", progress=False)
    check_counts(recorded[-1], tmp_path / "out")
    assert recorded[-1].n_blocks == {(10, 12): 4, (40, 5): 0, (10, 5): 12}[chunks]


@pytest.mark.parametrize("shared", [True, False], ids=["scratch", "workers"])
@pytest.mark.xdist_group("cluster")
def test_cluster_counts(
    tmp_path: Path, recorded: list[Progress], monkeypatch: pytest.MonkeyPatch,
    shared: bool
) -> None:  # fmt: skip
    from distributed import Client, LocalCluster

    monkeypatch.setattr("cellucid_dask.runtime.resources.Resources.shares_disk", lambda *_: shared)
    adata = small_anndata(form="dense")
    adata.X = da.from_array(adata.X, chunks=(10, 12)).map_blocks(sparse.csr_matrix)
    with (
        LocalCluster(
            processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as running,
        Client(running),
    ):
        cellucid_dask.export(adata, tmp_path / "out", progress=False)
    check_counts(recorded[-1], tmp_path / "out")
    assert recorded[-1].n_blocks == 4


def test_lines_where_there_is_no_terminal(
    small_h5ad: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(small_h5ad), str(tmp_path / "out"), "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["n_genes"] == 12
    lines = [line for line in err.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1
    assert LAST.match(lines[0])


def test_no_progress(small_h5ad: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(small_h5ad), str(tmp_path / "out"), "--no-progress"]) == 0
    out, err = capfd.readouterr()
    assert " genes in " in out
    assert all(line.startswith("warning:") for line in err.splitlines())


def test_bar_in_a_terminal(small_h5ad: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "cellucid_dask", "export", str(small_h5ad),
               str(tmp_path / "out"), "--json"]  # fmt: skip
    done = subprocess.run(command, stderr=slave, stdout=subprocess.PIPE, check=True)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert json.loads(done.stdout)["n_genes"] == 12
    bar, text = shown.replace("\r\n", "").rpartition("\r\x1b[K")[2].split("] ")
    assert bar == "[" + "#" * 24
    assert LAST.match(text)


def test_failed_run_shows_how_far_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError

    adata = small_anndata(form="dense")
    adata.X = da.from_array(adata.X, chunks=(10, 12)).map_blocks(fail, meta=adata.X[:0, :0])
    with pytest.raises(ZeroDivisionError):
        cellucid_dask.export(adata, tmp_path / "out")
    assert "exporting: read 0 of 4 blocks" in capfd.readouterr().err


def test_log(small_h5ad: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="cellucid_dask"):
        cellucid_dask.export(
            small_h5ad, tmp_path / "out", progress=False, storage_options={"secret": "hush-hush"}
        )
    assert "40 cells x 12 genes; route" in caplog.text
    assert "12 of 12 genes" in caplog.text
    assert "hush-hush" not in caplog.text
    assert {record.name for record in caplog.records} >= {"cellucid_dask"}


@pytest.mark.parametrize("scheduler", ["threads", "distributed"])
@pytest.mark.xdist_group("cluster")
def test_every_long_step_is_counted(
    tmp_path: Path, recorded: list[Progress], scheduler: str
) -> None:
    adata = small_anndata()
    with contextlib.ExitStack() as stack:
        if scheduler == "distributed":
            from distributed import Client

            stack.enter_context(Client(processes=False, n_workers=2, dashboard_address=":0"))
        cellucid_dask.export(adata, tmp_path / "out", connectivities="connectivities")
        cellucid_dask.verify(tmp_path / "out", adata, genes="all")
    counted = {each.what: (each.done, each.total) for each in recorded}
    assert counted.pop("writing the neighbor graph")[0] > 0  # of edges nobody knows the number
    assert all(done == total > 0 for done, total in counted.values()), counted
    assert set(counted) == {
        "reading cell metadata", "writing cell metadata", "reading the neighbor graph",
        "exporting", "reading files", "comparing genes with the source",
    }  # fmt: skip


def test_steps_of_verify_in_a_log(
    small_h5ad: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cellucid_dask.export(small_h5ad, tmp_path / "out", progress=False)
    monkeypatch.setattr(module._Log, "every", 0.0)
    assert main(["verify", str(tmp_path / "out"), "--source", str(small_h5ad)]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1].startswith("reading cell metadata: 5 of 5 columns")
    assert any(line.startswith("comparing genes with the source: 1 of 1 blocks") for line in lines)
    assert main(["verify", str(tmp_path / "out"), "--no-progress"]) == 0
    assert capfd.readouterr().err == ""
