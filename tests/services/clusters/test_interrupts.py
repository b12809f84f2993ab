"""An interrupted export leaves no task, no worker and no scratch."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import anndata as ad
import numpy as np
import psutil
import pytest
from distributed import Client
from scipy import sparse

import cellucid_dask
from cellucid_dask.runtime import supervise
from tests.helpers import SETTINGS
from tests.services.clusters.cells import IDENTITY, assert_nothing_runs

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def large_h5ad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells that take two workers some seconds."""
    path = tmp_path_factory.mktemp("large") / "large.h5ad"
    random = np.random.default_rng(5)
    block = sparse.random(20_000, 400, 0.2, format="csr", dtype=np.float32, rng=random)
    adata = ad.AnnData(sparse.vstack([block] * 6, format="csr"))
    adata.obsm["X_umap"] = random.random((120_000, 2), np.float32)
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_stopped_command_leaves_nothing(
    large_h5ad: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    command = [
        sys.executable, "-m", "cellucid_dask", "export", str(large_h5ad), str(target),
        "--n-workers", "2", "--scratch", str(scratch), "--compression", "9",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until = time.monotonic() + 60
        while not list(scratch.glob("*/*.tiles")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.005)
        descendants = psutil.Process(process.pid).children(recursive=True)
        if sent == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    stopped, again = told.splitlines()[-2:]
    assert stopped == "stopped: the target contains no complete export. Continue with --resume:"
    assert shlex.split(again) == ["cellucid-dask", *command[3:], "--resume"]
    assert "Traceback" not in told
    assert len(descendants) >= 2
    gone, alive = psutil.wait_procs(descendants, timeout=10)
    assert not alive, gone
    assert not list(scratch.iterdir())
    assert not (target / IDENTITY).exists()


def test_stopped_export_is_cancelled_on_a_cluster_that_stays(
    client: Client, large_h5ad: Path, tmp_path: Path
) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()

    def interrupt() -> None:
        while not list(scratch.glob("*/*.tiles")):
            time.sleep(0.005)
        signal.raise_signal(signal.SIGINT)

    # dask-jobqueue, once imported by any test, would end the process instead
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            cellucid_dask.export(large_h5ad, target, scratch=str(scratch), **SETTINGS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not any(client.run(supervise._running).values())
    assert_nothing_runs(client)
    assert not list(scratch.iterdir())
    assert not (target / IDENTITY).exists()
    time.sleep(0.5)
    assert not list(scratch.iterdir()), "a task went on after the end"
