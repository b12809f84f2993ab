"""A real Slurm of one node, whose jobs are the workers; one is cancelled half-way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, small_anndata, tree_bytes, write_h5ad
from tests.viewer_reader import check

jobqueue = pytest.importorskip("dask_jobqueue")

DAEMONS = ("munged", "slurmctld", "slurmd")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="slurmd is run by root"
    ),
    pytest.mark.skipif(
        not all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in DAEMONS),
        reason="slurmctld, slurmd and munged are not installed",
    ),
]

OPTIONS = SETTINGS | {"memory_budget": "128MiB"}

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/staging
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End a daemon and what it started."""
    running = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in psutil.wait_procs(running, timeout=5)[1]:
        each.kill()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "slurm"
    for each in (folder, folder / "state", folder / "staging"):
        each.mkdir(mode=0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(
            host=host, folder=folder, port=free_port(), node_port=free_port(), cpus=os.cpu_count()
        )
    )
    monkeypatch.setenv("SLURM_CONF", str(config))
    with ExitStack() as stack:
        log = stack.enter_context((folder / "daemons.log").open("wb"))
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
             f"--key-file={key}", f"--pid-file={folder}/munge.pid",
             f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"],
            ["slurmctld", "-D", "-i", "-f", str(config)],
            ["slurmd", "-D", "-f", str(config), "-N", host],
        ):  # fmt: skip
            stack.callback(end, subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        until = time.monotonic() + 30
        while "idle" not in sinfo():
            if time.monotonic() > until:
                pytest.skip(f"Slurm does not come up here: {sinfo()}")
            time.sleep(0.3)
        yield
        subprocess.run(["scancel", "--me", "--signal=KILL"], check=False)


def sinfo() -> str:
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def jobs() -> list[str]:
    done = subprocess.run(
        ["squeue", "-h", "-t", "RUNNING", "-o", "%i"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.usefixtures("slurm")
def test_job_is_cancelled_half_way(
    tmp_path: Path) -> None:  # fmt: skip
    random = np.random.default_rng(6)
    matrix = sparse.random(80_000, 300, 0.2, format="csr", dtype=np.float32, rng=random)
    source = write_h5ad(small_anndata(matrix, extras=False), tmp_path / "cells.h5ad")
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(source, tmp_path / "here", **OPTIONS)
    check(tmp_path / "here")

    target, cancelled = tmp_path / "out", []

    def cancel() -> None:
        while not list(target.glob("var/*")):
            time.sleep(0.01)
        cancelled.append(jobs()[0])
        subprocess.run(["scancel", "--signal=KILL", cancelled[0]], check=True)
        subprocess.run(["scancel", cancelled[0]], check=True)

    thread = threading.Thread(target=cancel, daemon=True)
    from distributed import Client

    with (
        jobqueue.SLURMCluster(
            cores=1, processes=1, memory="1GiB", interface="lo", queue="main",
            job_directives_skip=["--mem"], python=sys.executable, walltime="00:10:00",
            local_directory=str(tmp_path), log_directory=str(tmp_path / "logs"),
            job_script_prologue=[f"export PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"],
            scheduler_options={"dashboard_address": ":0"},
            security=True, shared_temp_directory=str(tmp_path),
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        assert client.scheduler.address.startswith("tls://")
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=90)
        assert len(jobs()) == 2
        client.run(put_slowly)
        thread.start()
        cellucid_dask.export(source, target, scratch=str(tmp_path), **OPTIONS)
        thread.join(timeout=10)
    assert len(cancelled) == 1
    assert tree_bytes(target) == tree_bytes(tmp_path / "here")
    assert not list(tmp_path.glob("cellucid-dask-scratch-*"))


def put_slowly() -> None:
    from cellucid_dask.store.target import Target

    put = Target.put

    def slowly(self: Target, files: Any) -> None:
        time.sleep(0.3)
        put(self, files)

    Target.put = slowly  # type: ignore[method-assign]
