"""How long a run waits while nothing moves, and what it says meanwhile."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty
from typing import Protocol, TypeVar

import psutil

from cellucid_dask.display import say
from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.progress import is_shown

T = TypeVar("T")

_log = logging.getLogger("cellucid_dask")


@dataclass(frozen=True)
class Patience:
    """What a call allows to those it waits for.

    Attributes
    ----------
    seconds
        For which nothing at all may move. The default is twice Dask's own patience with a worker
        that has fallen silent, so that Dask can give its tasks to others first.
    look_every
        Seconds between two looks at what moves, if `seconds` leaves time for several, and those
        that an answer may take.
    tell_after
        Seconds after which to begin saying what is waited for, and between two lines of it.
    """

    seconds: float = 600.0
    look_every: float = 2.0
    tell_after: float = 10.0

    @property
    def turn(self) -> float:
        """Seconds from one look to the next."""
        return min(self.look_every, self.seconds / 8)

    def __str__(self) -> str:
        """Return the time in words."""
        return in_words(self.seconds)


_DEFAULT = Patience()
_patience: ContextVar[Patience] = ContextVar("patience", default=_DEFAULT)


def patience() -> Patience:
    """Return what the present call allows."""
    return _patience.get()


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Let everything inside the block that waits end after `seconds` in which nothing moves."""
    token = _patience.set(Patience(seconds))
    try:
        yield
    finally:
        _patience.reset(token)


@dataclass(frozen=True)
class Look:
    """What is seen of those who do the work.

    Attributes
    ----------
    waiting_for
        What nothing moves without: "a Dask worker".
    error
        What is raised if that lasts too long.
    efforts
        By worker, counts that only grow while it works.
    """

    waiting_for: str
    error: ExportError
    efforts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Watched(Protocol):
    """Those who do the work."""

    def look(self) -> Look:
        """Look at them, which takes some seconds at most; raise if no work will ever end."""


class Vigil:
    """Waits for what others do, for as long as anything moves.

    Neither the whole work nor a task is limited. What is limited is the time without any result
    during which no process that works shows any activity.

    Parameters
    ----------
    watched
        Those who do the work.
    tell
        Is told what is waited for, and an empty text once there is something; by default it is
        said on stderr, where progress is shown.
    allowed
        How long to wait.
    """

    def __init__(
        self, watched: Watched, tell: Callable[[str], None] | None = None,
        allowed: Patience | None = None,
    ) -> None:  # fmt: skip
        self._watched, self._patience = watched, allowed or patience()
        self._tell = tell or _Lines(self._patience)
        self._still, self._told = 0.0, ""
        self._efforts: dict[str, tuple[float, ...]] = {}

    def wait(self, get: Callable[[float], T]) -> T:
        """Return what `get` gives, which waits for some seconds and then raises `Empty`.

        Raises
        ------
        ExportError
            Nothing has moved for too long.
        """
        begun = time.monotonic()
        while True:
            try:
                item = get(self._patience.turn)
            except Empty:
                begun = self._look(begun)
            else:
                self._moved()
                return item

    def _look(self, begun: float) -> float:
        """Look who works; return the time of it."""
        look = self._watched.look()
        now = time.monotonic()
        # a turn that took far longer is one in which this process itself was suspended
        self._still += min(now - begun, 4 * self._patience.turn)
        if self._has_moved(look.efforts):
            self._moved()
        elif self._still >= self._patience.seconds:
            raise look.error
        elif self._still >= min(self._patience.tell_after, self._patience.seconds / 3):
            self._told = f"waiting {in_words(int(self._still))} for {look.waiting_for}"
            self._tell(self._told)
        return now

    def _has_moved(self, efforts: Mapping[str, tuple[float, ...]]) -> bool:
        before = {name: self._efforts.get(name, counts) for name, counts in efforts.items()}
        self._efforts.update(efforts)
        return any(
            now > then
            for name, counts in efforts.items()
            for now, then in zip(counts, before[name], strict=True)
        )

    def _moved(self) -> None:
        self._still = 0.0
        if self._told:
            self._told = ""
            self._tell("")


class _Lines:
    """Says on stderr and in the log what is waited for, not more often than is useful."""

    def __init__(self, allowed: Patience) -> None:
        self._every = allowed.tell_after
        self._last = -self._every

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if text and now - self._last >= self._every:
            self._last = now
            _log.info("%s", text)
            if is_shown():
                say(f"{text}\n", sys.stderr)


def run_into(call: Callable[[], T], done: Future[T]) -> None:
    """Make a call, and put its result or error where a thread waits for it."""
    try:
        done.set_result(call())
    except BaseException as error:  # noqa: BLE001  it is raised there
        done.set_exception(error)


def effort_of_threads(names: tuple[str, ...]) -> int:
    """Return how much time of the processor the threads of tasks have had.

    A task may take longer than any bound, and is right to, as long as its threads get time of the
    processor. That they live, or that their process still answers, says nothing: a thread that
    waits for a dead disk does both. What computes without end cannot be told from work.

    Parameters
    ----------
    names
        How the names of the threads begin. Those of fsspec, and those that are not Python's,
        work for tasks too; all others only keep the process going.

    Returns
    -------
    int
        Tenths of a second, so that waking up to look for something again and again does not count.
    """
    working = (*names, "fsspecIO")
    idle = {each.native_id for each in threading.enumerate() if not each.name.startswith(working)}
    busy = [each for each in psutil.Process().threads() if each.id not in idle]
    return int(sum(each.user_time + each.system_time for each in busy) * 10)


def in_words(seconds: float) -> str:
    """Return a time as it is said: ``"90 seconds"``, ``"10 minutes"``."""
    if seconds < 120:
        return f"{seconds:g} second{'' if seconds == 1 else 's'}"
    return f"{seconds / 60:.3g} minutes"
