"""A wait goes on while anything moves, says what it waits for, and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty

import pytest

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.patience import (
    Look,
    Patience,
    Vigil,
    in_words,
    patience,
    waiting_at_most,
)


class Clock:
    """A clock that a wait moves on, by more than asked for if the process was suspended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.suspended = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def nothing(self, seconds: float) -> str:
        self.now += seconds + self.suspended
        self.suspended = 0.0
        raise Empty

    def after(self, turns: int, item: int) -> Callable[[float], int]:
        """Return what waits in vain for some turns, and then gives an item."""
        left = iter(range(turns))

        def get(seconds: float) -> int:
            return item if next(left, None) is None else int(self.nothing(seconds))

        return get


class Workers:
    """They show one effort after the other, and then always the last."""

    def __init__(self, *efforts: dict[str, tuple[float, ...]]) -> None:
        self.efforts = list(efforts)

    def look(self) -> Look:
        effort = self.efforts.pop(0) if len(self.efforts) > 1 else self.efforts[0]
        return Look("a worker", ExportError("No worker came."), effort)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_comes_is_returned(clock: Clock) -> None:
    vigil = Vigil(Workers({}), allowed=Patience(60))
    assert vigil.wait(lambda _: 7) == 7
    assert clock.now == 0


@pytest.mark.parametrize("seconds", [4.0, 60.0, 600.0])
def test_ends_after_the_bound(clock: Clock, seconds: float) -> None:
    told: list[str] = []
    vigil = Vigil(Workers({"a": (5.0,)}), told.append, Patience(seconds))
    with pytest.raises(ExportError, match="No worker came"):
        vigil.wait(clock.nothing)
    assert seconds <= clock.now <= seconds * 1.2
    assert told[0].startswith("waiting ")
    assert told[0].endswith(" for a worker")
    assert "" not in told


@pytest.mark.parametrize("last", [(1.0, 9.0), (9.0, 0.0)])
def test_effort_begins_the_wait_anew(clock: Clock, last: tuple[float, ...]) -> None:
    told: list[str] = []
    efforts = [{"a": (1.0, 0.0)}] * 29 + [{"a": last}]
    vigil = Vigil(Workers(*efforts), told.append, Patience(70))
    with pytest.raises(ExportError):
        vigil.wait(clock.nothing)
    assert 120 < clock.now < 140, "some 60 seconds until the effort, and 70 after it"
    assert told.count("") == 1, "what was said is taken back once"


def test_workers_that_come_and_go_are_no_effort(clock: Clock) -> None:
    """Those that are killed and started again for ever get nothing done."""
    efforts = [{f"worker {number}": (float(number),)} for number in range(100)]
    with pytest.raises(ExportError):
        Vigil(Workers(*efforts), allowed=Patience(60)).wait(clock.nothing)
    assert clock.now < 70


def test_a_result_begins_the_wait_anew(clock: Clock) -> None:
    vigil = Vigil(Workers({}), allowed=Patience(60))
    for turn in range(20):
        assert vigil.wait(clock.after(10, turn)) == turn
    assert clock.now > 200


def test_time_of_being_suspended_does_not_count(clock: Clock) -> None:
    vigil = Vigil(Workers({}), allowed=Patience(60))
    clock.suspended = 3600.0
    with pytest.raises(ExportError):
        vigil.wait(clock.nothing)
    assert clock.now > 3600 + 50


def test_bounds_nest() -> None:
    with waiting_at_most(5):
        with waiting_at_most(7):
            assert patience() == Patience(7)
        assert patience() == Patience(5)
    assert patience().seconds == 600


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (0.5, "0.5 seconds"), (90.0, "90 seconds"), (600.0, "10 minutes"),
     (7200, "120 minutes"), (150, "2.5 minutes")],
)  # fmt: skip
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
