"""Schedulers and clients of every kind, and workers that cannot do the work."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import psutil
import pytest
from distributed import Client, LocalCluster

import cellucid_dask
from cellucid_dask.cli.commands import main
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.runtime import cluster
from cellucid_dask.runtime.patience import waiting_at_most
from cellucid_dask.runtime.resources import find_resources
from tests.helpers import SETTINGS, Tree, small_anndata, tree_bytes, write_zarr
from tests.services.clusters.cells import lazy
from tests.viewer_reader import check

pytestmark = pytest.mark.xdist_group("cluster")


def test_client_inside_a_running_loop(
    client: Client, matrix: Any, expected: Tree, tmp_path: Path) -> None:  # fmt: skip
    """As in a notebook: the kernel's loop runs, the client has its own."""
    assert client.status == "running"

    async def cell() -> None:
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)

    asyncio.run(cell())
    assert tree_bytes(tmp_path / "out") == expected


@pytest.mark.parametrize("threaded", [False, True], ids=["blocking", "to_thread"])
def test_asynchronous_client(
    two_workers: LocalCluster, matrix: Any, expected: Tree, tmp_path: Path,
    threaded: bool
) -> None:  # fmt: skip
    with Client(two_workers) as before:  # a worker killed by another test comes back
        before.wait_for_workers(2, timeout=60)

    def export() -> None:
        assert cellucid_dask.plan(lazy(matrix)).n_workers == 2
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)

    async def cell() -> None:
        async with Client(two_workers.scheduler_address, asynchronous=True):
            if threaded:
                await asyncio.to_thread(export)
            else:
                export()

    asyncio.run(cell())
    assert tree_bytes(tmp_path / "out") == expected


def test_asynchronous_cluster(matrix: Any, tmp_path: Path) -> None:
    """A scheduler in the blocked loop itself cannot answer; in a thread all is well."""

    async def cell() -> None:
        async with (
            LocalCluster(
                asynchronous=True, processes=False, n_workers=1, dashboard_address=":0"
            ) as running,
            Client(running, asynchronous=True),
        ):
            with (
                pytest.raises(RequestError, match=r"asyncio\.to_thread"),
                cluster.blocking_client(timeout=1),
            ):
                pytest.fail("the block must not be entered")
            await asyncio.to_thread(
                cellucid_dask.export, lazy(matrix), tmp_path / "out", **SETTINGS
            )

    asyncio.run(cell())
    check(tmp_path / "out")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere://x", "127.0.0.1"])
def test_unreachable_scheduler(address: str) -> None:
    begun = time.monotonic()
    with pytest.raises(RequestError, match=f"^No Dask scheduler answers at {address}:"):
        cluster.connect(address, timeout=1)
    assert time.monotonic() - begun < 8
    assert_all_are_closed()


def assert_all_are_closed() -> None:
    """A client that is left open is closed when it is collected, in the middle of anything."""
    left = [each for each in gc.get_objects() if issubclass(type(each), Client)]
    assert {each.status for each in left} <= {"closed"}


def test_client_that_is_let_in_too_late(two_workers: LocalCluster, tmp_path: Path) -> None:
    """Nobody waits for it any more, so it is closed as soon as it is made."""
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ndef dask_setup(client):\n    time.sleep(3)\n")
    with (
        dask.config.set({"distributed.client.preload": [str(slow)]}),
        pytest.raises(RequestError, match=r"^No Dask scheduler answers"),
    ):
        cluster.connect(two_workers.scheduler_address, timeout=1)
    (made,) = (each for each in threading.enumerate() if each.name == "client")
    made.join(30)
    assert_all_are_closed()


def test_processes_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        dask.config.set(temporary_directory=str(tmp_path / "file/none")),
        pytest.raises(RequestError, match=r"^Dask could not start worker processes .*--n-workers"),
    ):
        cluster.start(1)
    assert_all_are_closed()


def test_command_refuses_an_unreachable_scheduler(
    h5ad: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["export", str(h5ad), str(tmp_path / "out"), "--scheduler", "nowhere://x"])
    error = capfd.readouterr().err
    assert code == 2
    assert error.startswith("error: No Dask scheduler answers at nowhere://x:")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_scheduler_without_workers(matrix: Any, tmp_path: Path) -> None:
    with (
        LocalCluster(processes=False, n_workers=0, dashboard_address=":0") as running,
        Client(running) as client,
    ):
        with (
            pytest.raises(ExportError, match=r"no worker for 1 second: start some"),
            waiting_at_most(1),
        ):
            cluster.find_workers(client)

        late = threading.Timer(1, running.scale, [1])
        late.start()
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
        late.join()
    check(tmp_path / "out")


def test_adaptive_cluster_starts_workers(matrix: Any, tmp_path: Path) -> None:
    with (
        LocalCluster(processes=False, n_workers=0, dashboard_address=":0") as running,
        Client(running),
    ):
        running.adapt(minimum=0, maximum=1, interval="100ms")
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
    check(tmp_path / "out")


@pytest.mark.parametrize(
    ("limit", "n_workers", "threads"), [("1000MiB", 2, 1), ("1000MiB", 1, 4), (None, 2, 2)]
)
def test_work_is_sized_by_the_workers(limit: str | None, n_workers: int, threads: int) -> None:
    with (
        LocalCluster(
            processes=False, n_workers=n_workers, threads_per_worker=threads,
            memory_limit=limit, dashboard_address=":0",
        ) as running,
        Client(running),
    ):  # fmt: skip
        found = find_resources(None)
        assert find_resources(12345).memory == 12345
    assert found.n_workers == n_workers * threads
    if limit is None:
        free = psutil.virtual_memory().available
        assert 0.1 * free < found.memory < 0.5 * psutil.virtual_memory().total
    else:
        assert found.memory == pytest.approx(0.4 * 1000 * 2**20 * n_workers, rel=1e-6)


def test_workers_of_different_sizes() -> None:
    with LocalCluster(
        processes=False, n_workers=1, threads_per_worker=1, memory_limit="1000MiB",
        dashboard_address=":0",
    ) as running:  # fmt: skip
        running.new_spec["options"]["memory_limit"] = "500MiB"
        running.scale(2)
        with Client(running) as client:
            client.wait_for_workers(2)
            found = find_resources(None)
    assert found.memory == pytest.approx(2 * 0.4 * 500 * 2**20, rel=1e-6)


def test_worker_of_another_version(in_process: Client) -> None:
    theirs = cellucid_dask.__version__
    with pytest.raises(RequestError, match=rf"has cellucid-dask {theirs}, and this is 99\.9"):
        cluster.find_workers(in_process, version="99.9")


def test_worker_without_the_package(client: Client, matrix: Any, tmp_path: Path) -> None:
    def lose() -> None:
        sys.lost = sys.modules.pop("cellucid_dask", None)  # type: ignore[attr-defined]
        sys.modules["cellucid_dask"] = None  # type: ignore[assignment]

    def find() -> None:
        del sys.modules["cellucid_dask"]
        if sys.lost is not None:  # type: ignore[attr-defined]
            sys.modules["cellucid_dask"] = sys.lost  # type: ignore[attr-defined]

    client.run(lose)
    try:
        with pytest.raises(RequestError, match=r"has no cellucid-dask, .* install the same"):
            cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
    finally:
        client.run(find)


def test_workers_that_do_not_see_the_target(
    in_process: Client, matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(*_: Any, **__: Any) -> dict[str, bool]:
        return {"tcp://w1": False}

    monkeypatch.setattr(type(in_process), "run", blind)
    with pytest.raises(
        RequestError, match=r"worker tcp://w1 cannot access .*out: choose a location"
    ):
        cluster.check_sees(in_process, str(tmp_path / "out"))
    assert matrix.shape


def test_relative_paths_are_seen_by_workers_elsewhere(
    client: Client, h5ad: Path, matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    adata = ad.read_h5ad(h5ad)
    write_zarr(adata, tmp_path / "cells.zarr")
    monkeypatch.chdir(tmp_path)
    assert set(client.run(os.getcwd).values()) != {str(tmp_path)}
    cellucid_dask.export("cells.zarr", "out", **SETTINGS)
    assert check(tmp_path / "out").genes == [str(gene) for gene in range(matrix.shape[1])]


def test_name_that_a_client_left_behind(tmp_path: Path) -> None:
    with dask.config.set(scheduler="dask.distributed"):
        cellucid_dask.export(small_anndata(), tmp_path / "out", **SETTINGS)
        assert cellucid_dask.verify(tmp_path / "out").ok


def test_processes_that_are_started_accept_nobody_else(tmp_path: Path) -> None:
    """A scheduler runs what it is sent, and every user of the machine reaches its port."""
    (tmp_path / "own.py").write_text("def dask_setup(worker):\n    worker.prepared = True\n")
    with (
        dask.config.set({"distributed.worker.preload": str(tmp_path / "own.py")}),
        cluster.start(1) as client,
    ):
        address = client.scheduler.address
        assert address.startswith("tls://")
        assert all(worker.startswith("tls://") for worker in client.nthreads())
        assert client.submit(sum, [1, 2]).result() == 3
        assert all(client.run(lambda dask_worker: dask_worker.prepared).values())
        # in processes of their own: a client that failed may block the next when it is collected
        code = (
            "import os, sys\nfrom distributed import Client\n"
            "try:\n    Client(sys.argv[1], timeout=3)\n"
            "except (OSError, TypeError):\n    os._exit(3)\n"
        )
        for other in (address, address.replace("tls://", "tcp://")):
            run = subprocess.run([sys.executable, "-c", code, other], check=False, timeout=120)
            assert run.returncode == 3
