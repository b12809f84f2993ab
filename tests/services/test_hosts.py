"""Scheduler and workers on hosts of their own, which share no disk, and a store they all reach.

Hosts are network namespaces that are joined by a bridge; each worker sees a temporary
folder of its own in a private mount namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dask
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, small_anndata, tree_bytes, write_zarr
from tests.viewer_reader import check

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="hosts are made by root"
    ),
    pytest.mark.skipif(
        not all(map(shutil.which, ("ip", "nsenter", "unshare", "mount"))),
        reason="iproute2 and util-linux are not installed",
    ),
]

NAMES = ("client", "scheduler", "worker1", "worker2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Namespaces ``cd-<pid>-<name>`` with addresses 10.213.0.1 and on."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._tag = f"cd{os.getpid() % 10000}"
        self.address = {name: f"10.213.0.{i + 1}" for i, name in enumerate(NAMES)}
        bridge = f"{self._tag}-hub"
        hub = self._space("hub")
        ip("-n", hub, "link", "add", bridge, "type", "bridge")
        ip("-n", hub, "link", "set", bridge, "up")
        for i, name in enumerate(NAMES):
            space, here, there = self._space(name), f"{self._tag}a{i}", f"{self._tag}b{i}"
            ip("link", "add", here, "netns", hub, "type", "veth", "peer", there, "netns", space)
            ip("-n", hub, "link", "set", here, "master", bridge, "up")
            ip("-n", space, "addr", "add", f"{self.address[name]}/24", "dev", there)
            ip("-n", space, "link", "set", there, "up")
            ip("-n", space, "link", "set", "lo", "up")

    def _space(self, name: str) -> str:
        space = f"{self._tag}-{name}"
        ip("netns", "add", space)
        self._stack.callback(ip, "netns", "del", space)
        return space

    def start(self, name: str, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a process on a host, which sees an empty temporary folder."""
        script = f'mount -t tmpfs none {self._folder} && exec "$@"'
        private = ["unshare", "--mount", "sh", "-c", script, "sh"] if name != "client" else []
        log = (self._folder.parent / f"{name}.log").open("wb")
        self._stack.callback(log.close)
        process = subprocess.Popen(
            ["ip", "netns", "exec", f"{self._tag}-{name}", *private, *command],
            stdout=log, stderr=log, cwd="/",
            env={**os.environ, "TMPDIR": str(self._folder), **env,
                 "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        )  # fmt: skip
        self._stack.callback(end, process)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of which every host but the client's has its own."""
    found = tmp_path / "tmp"
    found.mkdir()
    return found


@pytest.fixture
def hosts(folder: Path) -> Iterator[Hosts]:
    with ExitStack() as stack:
        try:
            hosts = Hosts(stack, folder)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
        scheduler = f"tcp://{hosts.address['scheduler']}:8786"
        python = sys.executable
        hosts.start(
            "scheduler", python, "-m", "distributed.cli.dask_scheduler", "--host",
            hosts.address["scheduler"], "--port", "8786", "--no-dashboard",
        )  # fmt: skip
        for name in ("worker1", "worker2"):
            hosts.start(
                name, python, "-m", "distributed.cli.dask_worker", scheduler, "--host",
                hosts.address[name], "--nthreads", "1", "--memory-limit", "1GiB",
                "--no-dashboard", "--local-directory", f"{folder}/spill",
                AWS_DEFAULT_REGION="us-east-1",
            )  # fmt: skip
        yield hosts


CLIENT = """
    import json, sys, time, warnings
    from moto.server import ThreadedMotoServer
    import fsspec, s3fs
    from distributed import Client
    import cellucid_dask
    from cellucid_dask.errors import RequestError

    warnings.simplefilter("ignore")
    me, scheduler, source, local, options = sys.argv[1:]
    options = json.loads(options)
    server = ThreadedMotoServer(ip_address=me, port=5555)
    server.start()
    store = {"key": "x", "secret": "x", "endpoint_url": f"http://{me}:5555"}
    fs = s3fs.S3FileSystem(**store)
    fs.mkdir("atlas")
    fs.put(source, "atlas/cells.zarr", recursive=True)
    said = {}
    with Client(scheduler, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
        for name, ends in {
            "target": ("s3://atlas/cells.zarr", local, store),
            "source": (source, "s3://atlas/none", None),
        }.items():
            try:
                cellucid_dask.export(ends[0], ends[1], storage_options=store,
                                     source_storage_options=ends[2], **options)
            except RequestError as error:
                said[name] = str(error)
        by_s3fs = {**store, "config_kwargs": {"read_timeout": 60}}
        for name, scratch, store in (
            ("kept", None, store), ("scratched", "s3://atlas/scratch", store),
            ("by-s3fs", "s3://atlas/scratch", by_s3fs),
        ):
            both = {"storage_options": store, "source_storage_options": store, **options}
            target = f"s3://atlas/{name}"
            plan = cellucid_dask.plan("s3://atlas/cells.zarr", target, scratch=scratch, **both)
            said[target] = plan.route
            cellucid_dask.export("s3://atlas/cells.zarr", target, scratch=scratch, **both)
            fs.get(target.removeprefix("s3://"), f"{local}-{name}", recursive=True)
        said["left"] = fs.find("atlas/scratch") + fs.find("atlas/none")
    print("SAID", json.dumps(said))
    server.stop()
"""


def test_same_bytes_from_hosts_that_share_nothing(
    hosts: Hosts, folder: Path, tmp_path: Path) -> None:  # fmt: skip
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    matrix = sparse.random(
        60_000, 150, 0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(4)
    )
    source = write_zarr(small_anndata(matrix, extras=False), folder / "cells.zarr")
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(source, tmp_path / "here", **SETTINGS)
    check(tmp_path / "here")

    client = hosts.start(
        "client", sys.executable, "-c", textwrap.dedent(CLIENT), hosts.address["client"],
        f"tcp://{hosts.address['scheduler']}:8786", str(source), str(folder / "out"),
        json.dumps(SETTINGS),
    )  # fmt: skip
    until = time.monotonic() + 240
    while client.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    told = (tmp_path / "client.log").read_text()
    assert client.returncode == 0, told
    said = json.loads(told.rpartition("SAID ")[2])
    assert f"cannot access {folder / 'out'}" in said["target"]
    assert f"cannot access {source}" in said["source"]
    assert said["s3://atlas/kept"] == "workers"
    assert said["s3://atlas/scratched"] == said["s3://atlas/by-s3fs"] == "scratch"
    assert said["left"] == []
    expected = tree_bytes(tmp_path / "here")
    for name in ("kept", "scratched", "by-s3fs"):
        assert tree_bytes(folder / f"out-{name}") == expected
