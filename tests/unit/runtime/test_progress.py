"""What progress counts, and how often it is shown."""

from __future__ import annotations

import time

import pytest

from cellucid_dask.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_counts_and_time_left(clock: list[float]) -> None:
    seen: list[str] = []
    progress = Progress(10, 100, lambda each: seen.append(str(each)), every=0)
    assert progress.seconds_left is None
    clock[0] = 60
    progress.read(5)  # a half of the third that reading is
    assert seen == ["read 5 of 10 blocks, 0:05:00 left"]
    clock[0] = 120
    progress.read(5)
    progress.encoded(50, 50 * 1024)
    assert seen[-1] == "50 of 100 genes, 50.00 kiB, 0:01:00 left"
    clock[0] = 3800
    progress.encoded(50, 50 * 1024)
    assert progress.fraction == 1
    assert seen[-1] == "100 of 100 genes, 100.00 kiB, 1:03:20"


def test_shown_no_more_often_than_asked(clock: list[float]) -> None:
    seen: list[float] = []
    progress = Progress(0, 1000, lambda _: seen.append(clock[0]), every=10)
    for second in range(1, 36):
        clock[0] = second
        progress.encoded(1, 1)
    assert seen == [10, 20, 30]


def test_nothing_to_do_is_done() -> None:
    assert Progress(0, 0, lambda _: None, 0).fraction == 0
    assert str(Progress(0, 0, lambda _: None, 0)).startswith("0 of 0 genes")
