"""What goes wrong with the workers of a cluster changes no byte of an export."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client
from scipy import sparse

import cellucid_dask
from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.progress import Progress
from cellucid_dask.runtime.supervise import compute_all
from tests.helpers import SETTINGS, Tree, tree_bytes
from tests.services.clusters.cells import IDENTITY, assert_nothing_runs, lazy

pytestmark = pytest.mark.xdist_group("cluster")


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


def test_result_that_is_lost_with_its_worker(client: Client, tmp_path: Path) -> None:
    """It had been told of, is looked at when it is lost, and is computed again."""
    again = tmp_path / "again"

    def second() -> int:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        if again.exists():
            time.sleep(2)
        return os.getpid()

    class Killing(Progress):
        def add(self, number: int = 1, nbytes: int = 0) -> None:
            super().add(number, nbytes)
            if not again.exists():
                (tmp_path / "begun").touch()
                _until(lambda: client.futures["second"].status == "finished")
                again.touch()
                (holder,) = filter(None, client.run(_pid_if_it_has, "second").values())
                os.kill(holder, signal.SIGKILL)
                _until(lambda: client.futures["second"].status == "lost")

    tasks = [
        dask.delayed(os.getppid)(dask_key_name="first"),
        dask.delayed(second)(dask_key_name="second"),
    ]
    progress = Killing("", 2, "")
    _, pid = compute_all(client, tasks, progress)
    assert progress.done == 2
    client.wait_for_workers(2, timeout=60)
    assert pid in client.run(os.getpid).values()


def _pid_if_it_has(key: str, dask_worker: Any) -> int | None:
    return os.getpid() if key in dask_worker.data else None


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


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
        with pytest.raises(ExportError, match=r"died.*memory.*resume"):
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

        from cellucid_dask.engine import gene_tasks as execute

        write = execute.write_receipt  # type: ignore[attr-defined]

        def failing(target: Any, files: Any, summary: Any) -> None:
            write(target, files, summary)
            try:
                (log / str(summary.column[0])).touch(exist_ok=False)
            except FileExistsError:
                return
            raise ConnectionResetError(get_worker().address)

        execute.write_receipt, execute.as_ever = failing, write  # type: ignore[attr-defined]

    def mend() -> None:
        from cellucid_dask.engine import gene_tasks as execute

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

        def failing(self: Scratch, name: str, arrays: Any) -> Any:
            if name == "3.tiles":
                with log.open("a") as out:
                    out.write("x")
                raise ExportError("Scratch is full.")
            return write(self, name, arrays)

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
