"""Clusters of worker processes: what goes wrong with them changes no byte of an export."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from scipy import sparse

import cellucid_dask
from cellucid_dask.cli.commands import main
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.runtime import cluster, supervise
from cellucid_dask.runtime.resources import find_resources
from tests.helpers import SETTINGS, Tree, small_anndata, tree_bytes, write_zarr
from tests.viewer_reader import check

IDENTITY = "dataset_identity.json"

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def matrix() -> Any:
    return sparse.random(
        6_000, 40, 0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(3)
    )


def lazy(matrix: Any, block: Callable[[Any], Any] = sparse.csr_matrix) -> ad.AnnData:
    """Return the cells in twelve lazy blocks."""
    umap = np.random.default_rng(1).random((matrix.shape[0], 2), np.float32)
    adata = ad.AnnData(matrix, obsm={"X_umap": umap})
    rows = da.from_array(matrix.toarray(), chunks=(500, matrix.shape[1]))
    adata.X = rows.map_blocks(block, dtype=matrix.dtype, meta=sparse.csr_matrix((0, 0)))
    return adata


@pytest.fixture(scope="module")
def expected(matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The export by one thread."""
    target = tmp_path_factory.mktemp("expected") / "export"
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(lazy(matrix), target, **SETTINGS)
    assert check(target).genes == [str(gene) for gene in range(40)]
    return tree_bytes(target)


@pytest.fixture(scope="module")
def h5ad(matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("h5ad") / "cells.h5ad"
    adata = lazy(matrix)
    adata.X = matrix
    adata.write_h5ad(path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit="600MiB"
    ) as running:
        yield running


@pytest.fixture
def client(two_workers: LocalCluster) -> Iterator[Client]:
    with Client(two_workers) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def in_process() -> Iterator[Client]:
    with (
        LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
        ) as running,
        Client(running) as client,
    ):
        yield client


def assert_nothing_runs(client: Client) -> None:
    """The scheduler forgets what is cancelled a moment after it is."""
    until = time.monotonic() + 10
    while tasks := client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)):
        assert time.monotonic() < until, tasks[:5]
        time.sleep(0.05)


def test_the_active_client_is_used(client: Client, matrix: Any) -> None:
    pids = set(client.run(os.getpid).values())
    seen = da.from_array(np.zeros((4, 1)), chunks=(1, 1)).map_blocks(
        lambda block: np.full_like(block, os.getpid())
    )
    assert set(seen.compute().ravel().astype(int)) <= pids
    assert cellucid_dask.plan(lazy(matrix)).n_workers == 2


@pytest.mark.parametrize("shared", [True, False], ids=["scratch", "workers"])
def test_same_bytes(
    client: Client, matrix: Any, expected: Tree, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:  # fmt: skip
    monkeypatch.setattr("cellucid_dask.runtime.resources.Resources.shares_disk", lambda *_: shared)
    cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
    assert tree_bytes(tmp_path / "out") == expected
    assert_nothing_runs(client)


def test_worker_is_killed_while_it_reads(
    client: Client, matrix: Any, expected: Tree, tmp_path: Path) -> None:  # fmt: skip
    marker = str(tmp_path / "killed")

    def block(values: Any) -> Any:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return sparse.csr_matrix(values)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    before = set(client.run(os.getpid).values())
    cellucid_dask.export(lazy(matrix, block), tmp_path / "out", **SETTINGS)
    assert tree_bytes(tmp_path / "out") == expected
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before


def test_worker_is_killed_while_it_encodes(
    client: Client, matrix: Any, expected: Tree, tmp_path: Path) -> None:  # fmt: skip
    target = tmp_path / "out"
    victims = list(client.run(_put_slowly).values())
    killed = threading.Event()

    def kill() -> None:
        while not list(target.glob("var/*")):
            time.sleep(0.005)
        os.kill(victims[0], signal.SIGKILL)
        assert not (target / IDENTITY).exists()
        killed.set()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        cellucid_dask.export(lazy(matrix), target, **SETTINGS)
    finally:
        client.run(_put_as_ever)
    assert killed.is_set()
    assert tree_bytes(target) == expected


def _put_slowly() -> int:
    from cellucid_dask.store.target import Target

    put = Target.put

    def slowly(self: Target, files: Any) -> None:
        for name, data in files.items():
            put(self, {name: data})
            time.sleep(0.05)

    Target.put, Target.as_ever = slowly, put  # type: ignore[method-assign, attr-defined]
    return os.getpid()


def _put_as_ever() -> None:
    from cellucid_dask.store.target import Target

    Target.put = getattr(Target, "as_ever", Target.put)  # type: ignore[method-assign]


@pytest.mark.usefixtures("client")
def test_worker_over_its_memory_limit(
    matrix: Any, expected: Tree, tmp_path: Path) -> None:  # fmt: skip
    marker = str(tmp_path / "filled")

    def block(values: Any) -> Any:
        with open(marker, "a+") as log:  # noqa: PTH123
            log.write("x")
            log.seek(0)
            first = log.read() == "x"
        if first:
            held = np.ones(2**30, np.uint8)
            time.sleep(20)
            del held
        return sparse.csr_matrix(values)

    cellucid_dask.export(lazy(matrix, block), tmp_path / "out", **SETTINGS)
    assert tree_bytes(tmp_path / "out") == expected
    assert len(Path(marker).read_text()) > 12, "the worker was not restarted"


def test_task_that_always_kills_its_worker(client: Client, matrix: Any, tmp_path: Path) -> None:
    def block(values: Any) -> Any:
        if values.size:
            os.kill(os.getpid(), signal.SIGKILL)
        return sparse.csr_matrix(values)

    def allow(number: int) -> None:
        def change(dask_scheduler: Any) -> None:
            dask_scheduler.allowed_failures = number

        client.run_on_scheduler(change)

    allow(0)
    try:
        with pytest.raises(ExportError, match=r"died.*memory.*--resume"):
            cellucid_dask.export(lazy(matrix, block), tmp_path / "out", **SETTINGS)
    finally:
        allow(3)
    assert not (tmp_path / "out" / IDENTITY).exists()


def test_task_that_runs_twice(
    client: Client, matrix: Any, expected: Tree, tmp_path: Path) -> None:  # fmt: skip
    """Every task fails once for a passing reason, after its work is done."""
    log = tmp_path / "log"
    log.mkdir()

    def fail_once() -> None:
        from distributed import get_worker

        from cellucid_dask.engine import genes as execute

        write = execute.write_receipt

        def failing(target: Any, files: Any, summary: Any) -> None:
            write(target, files, summary)
            try:
                (log / str(summary.column[0])).touch(exist_ok=False)
            except FileExistsError:
                return
            raise ConnectionResetError(get_worker().address)

        execute.write_receipt, execute.as_ever = failing, write  # type: ignore[attr-defined]

    def mend() -> None:
        from cellucid_dask.engine import genes as execute

        execute.write_receipt = execute.as_ever  # type: ignore[attr-defined]

    client.run(fail_once)
    try:
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
    finally:
        client.run(mend)
    assert tree_bytes(tmp_path / "out") == expected
    assert list(log.iterdir())


def test_permanent_failure_is_not_tried_again(client: Client, matrix: Any, tmp_path: Path) -> None:
    log, scratch = tmp_path / "log", tmp_path / "scratch"
    scratch.mkdir()

    def fill_the_disk() -> None:
        from cellucid_dask.store.scratch import Scratch

        write = Scratch.write

        def failing(self: Scratch, name: str, tiles: Any, first_gene: int) -> Any:
            if name == "3.tiles":
                with log.open("a") as out:
                    out.write("x")
                raise ExportError("Scratch is full.")
            return write(self, name, tiles, first_gene)

        Scratch.write, Scratch.as_ever = failing, write  # type: ignore[method-assign, attr-defined]

    def empty_it() -> None:
        from cellucid_dask.store.scratch import Scratch

        Scratch.write = Scratch.as_ever  # type: ignore[method-assign, attr-defined]

    client.run(fill_the_disk)
    try:
        with pytest.raises(ExportError, match="Scratch is full"):
            cellucid_dask.export(lazy(matrix), tmp_path / "out", scratch=str(scratch), **SETTINGS)
    finally:
        client.run(empty_it)
    assert log.read_text() == "x"
    assert not list(scratch.iterdir())
    assert not (tmp_path / "out" / IDENTITY).exists()
    assert_nothing_runs(client)


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


def test_asynchronous_cluster(matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler in the blocked loop itself cannot answer; in a thread all is well."""
    monkeypatch.setattr(cluster, "_ANSWER", 1)

    async def cell() -> None:
        async with (
            LocalCluster(
                asynchronous=True, processes=False, n_workers=1, dashboard_address=":0"
            ) as running,
            Client(running, asynchronous=True),
        ):
            with pytest.raises(RequestError, match=r"asyncio\.to_thread"):
                cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
            assert not (tmp_path / "out").exists()
            await asyncio.to_thread(
                cellucid_dask.export, lazy(matrix), tmp_path / "out", **SETTINGS
            )

    asyncio.run(cell())
    check(tmp_path / "out")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere://x", "127.0.0.1"])
def test_unreachable_scheduler(
    h5ad: Path, tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(cluster, "_ANSWER", 1)
    begun = time.monotonic()
    code = main(["export", str(h5ad), str(tmp_path / "out"), "--scheduler", address])
    told = capfd.readouterr().err
    assert code == 2
    assert time.monotonic() - begun < 8
    assert told.startswith(f"error: No Dask scheduler answers at {address}:")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_scheduler_without_workers(
    matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        LocalCluster(processes=False, n_workers=0, dashboard_address=":0") as running,
        Client(running),
    ):
        monkeypatch.setattr(cluster, "_FIRST_WORKER", 0.5)
        with pytest.raises(RequestError, match=r"no worker for 0\.5 seconds"):
            cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
        assert not (tmp_path / "out").exists()

        monkeypatch.setattr(cluster, "_FIRST_WORKER", 30)
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


def test_worker_of_another_version(
    in_process: Client, matrix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_process.status == "running"
    monkeypatch.setattr(cluster, "_version", lambda: "99.9")
    found = cellucid_dask.__version__
    with pytest.raises(RequestError, match=rf"has cellucid-dask {found}, and this is 99\.9"):
        cellucid_dask.export(lazy(matrix), tmp_path / "out", **SETTINGS)
    assert not (tmp_path / "out").exists()


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
    monkeypatch.setattr(type(in_process), "run", lambda *_, **__: {"tcp://w1": False})
    with pytest.raises(RequestError, match=r"worker tcp://w1 does not see .*out: choose a place"):
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
    assert told.endswith("stopped: the target holds no whole export; --resume goes on.\n")
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


def test_name_that_a_client_left_behind(tmp_path: Path) -> None:
    with dask.config.set(scheduler="dask.distributed"):
        cellucid_dask.export(small_anndata(), tmp_path / "out", **SETTINGS)
        assert cellucid_dask.verify(tmp_path / "out").ok
