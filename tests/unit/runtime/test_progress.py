"""What progress counts, and how often it is shown."""

from __future__ import annotations

import time

import pytest

from cellucid_dask.runtime.progress import Progress, View


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class Seen(View):
    """Keeps what it is told to show."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.texts: list[str] = []

    def show(self, progress: Progress) -> None:
        self.texts.append(str(progress))


def test_counts_rate_and_time_left(clock: list[float]) -> None:
    view = Seen(0)
    progress = Progress("exporting", 100, "genes", 10, view)
    assert progress.seconds_left is None
    clock[0] = 60
    progress.read(5)  # a half of the third that reading is
    assert view.texts == ["exporting: read 5 of 10 blocks, 0:05:00 left"]
    clock[0] = 120
    progress.read(5)
    progress.add(50, 50 * 1024)
    assert view.texts[-1] == "exporting: 50 of 100 genes, 50.00 kiB, 0:01:00 left"
    clock[0] = 145
    progress.add(25, 25 * 1024)
    assert view.texts[-1] == "exporting: 75 of 100 genes, 75.00 kiB, 3/s, 0:00:28 left"
    clock[0] = 3800
    progress.add(25, 25 * 1024)
    assert progress.fraction == 1
    assert view.texts[-1] == "exporting: 100 of 100 genes, 100.00 kiB, 0.027/s, 1:03:20"


def test_an_unknown_total(clock: list[float]) -> None:
    progress = Progress("writing", 0, "edges")
    assert str(progress) == "writing: 0 edges, 0:00:00"
    clock[0] = 10
    progress.add(50_000)
    assert str(progress) == "writing: 50,000 edges, 5,000/s, 0:00:10"


def test_items_are_counted_when_they_are_done() -> None:
    progress = Progress("reading", 3, "columns")
    assert [(each, progress.done) for each in progress.count("abc")] == [
        ("a", 0),
        ("b", 1),
        ("c", 2),
    ]
    assert progress.done == 3


def test_shown_no_more_often_than_asked(clock: list[float]) -> None:
    view = Seen(10)
    progress = Progress("exporting", 1000, "genes", 0, view)
    for second in range(1, 36):
        clock[0] = second
        progress.add(1, 1)
    assert [text.split()[1] for text in view.texts] == ["10", "20", "30"]


def test_nothing_to_do_is_done() -> None:
    assert Progress("exporting", 0, "genes").fraction == 0
    assert str(Progress("exporting", 0, "genes")) == "exporting: 0 genes, 0:00:00"
