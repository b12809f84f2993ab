"""Schedulers of this machine: what hangs is left, what computes is waited for."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from dask.delayed import delayed

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.patience import waiting_at_most


@pytest.fixture(autouse=True)
def _no_cluster() -> Iterator[None]:
    """Use no scheduler that a client of another test left behind."""
    with dask.config.set(scheduler=None):
        yield


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """An event that tasks may wait for as long as the test runs."""
    event = threading.Event()
    yield event
    event.set()


def _tasks(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    return [delayed(function, pure=False)(each) for each in arguments]


def test_results_are_in_order() -> None:
    assert run_all(_tasks(lambda each: each * 2, 1, 2, 3), 2) == (2, 4, 6)


def test_errors_are_the_tasks_own() -> None:
    with pytest.raises(ZeroDivisionError):
        run_all(_tasks(lambda each: 1 / each, 1, 0), 2)


def test_task_that_hangs(held: threading.Event) -> None:
    begun: list[int] = []

    def task(each: int) -> None:
        begun.append(each)
        held.wait()

    started = time.monotonic()
    with (
        waiting_at_most(1),
        pytest.raises(ExportError, match=r"^A task has not moved for 1 second: .*timeout"),
    ):
        run_all(_tasks(task, *range(5)), 2)
    assert time.monotonic() - started < 10
    held.set()
    time.sleep(0.3)
    assert len(begun) == 2, "no task is begun after the end"


def test_task_that_computes_for_longer_than_the_bound() -> None:
    def task(seconds: float) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(1000))
        return "done"

    with waiting_at_most(3):
        assert run_all(_tasks(task, 4.5), 1) == ("done",)


def test_interrupt_beside_a_task_that_hangs(held: threading.Event) -> None:
    def task(_: int) -> None:
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        held.wait()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all(_tasks(task, 1), 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 8


def _end(path: str) -> None:
    Path(path).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_process_that_dies(tmp_path: Path) -> None:
    with (
        dask.config.set(scheduler="processes"),
        pytest.raises(ExportError, match=r"^A process of the Dask scheduler has died, .*resume"),
    ):
        run_all(_tasks(_end, str(tmp_path / "run")), 1)
    assert (tmp_path / "run").exists()
