"""The progress of long steps, shown as suits a terminal, a notebook or a log."""

from __future__ import annotations

import html
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

from dask.callbacks import Callback
from dask.utils import format_bytes

from cellucid_dask.display import say

_log = logging.getLogger("cellucid_dask")
# Reading and transposing a value takes about half the time of encoding it.
_READ, _ENCODE = 1, 2
_BAR = 24
# Seconds of a step after which its end stays in the terminal, and its rate means something.
_LONG = 1.0


Item = TypeVar("Item")


class Progress:
    """Counts of what is done of one step.

    Attributes
    ----------
    what
        What is done: the first words of its line.
    done, total, unit
        How much of it is in the end done, of how much, in what unit; 0 if the total is unknown.
    blocks, n_blocks
        Blocks of the matrix that are read before anything is done, and all of them.
    nbytes
        Total size of the files that were written.
    """

    def __init__(
        self, what: str, total: int, unit: str, n_blocks: int = 0, view: View | None = None
    ) -> None:
        self.what, self.unit = what, unit
        self.done, self.total = 0, total
        self.blocks, self.n_blocks = 0, n_blocks
        self.nbytes = 0
        self._waiting = ""
        self._view = view or View()
        self._started = self._counted = self._shown = time.monotonic()

    def read(self, blocks: int = 1) -> None:
        """Count blocks that were read."""
        self.blocks += blocks
        if not self.done:
            self._counted = time.monotonic()
        self._refresh()

    def add(self, number: int = 1, nbytes: int = 0) -> None:
        """Count what is done, and the bytes that were written of it."""
        self.done += number
        self.nbytes += nbytes
        self._refresh()

    def count(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, and count each when the next is asked for."""
        for item in items:
            yield item
            self.add()

    def wait_for(self, text: str) -> None:
        """Say what is waited for, while nothing moves; an empty text ends it."""
        if text and not self._waiting:
            _log.info("%s", text)
        self._waiting = text
        self._refresh()

    @property
    def fraction(self) -> float:
        """Share of the work that is done, from 0 to 1."""
        total = _ENCODE + (_READ if self.n_blocks else 0)
        done = _ENCODE * self.done / max(self.total, 1)
        done += _READ * self.blocks / max(self.n_blocks, 1)
        return min(done / total, 1.0)

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the average speed so far; ``None`` if that is unknown."""
        fraction = self.fraction if self.total else 0
        return self.seconds * (1 - fraction) / fraction if fraction else None

    def __str__(self) -> str:
        """Return one line to print."""
        if self.n_blocks and not self.done:
            parts = [f"{self.what}: read {self.blocks:,} of {self.n_blocks:,} blocks"]
        else:
            of_all = f" of {self.total:,}" if self.total else ""
            parts = [f"{self.what}: {self.done:,}{of_all} {self.unit}"]
        if self.nbytes:
            parts.append(format_bytes(self.nbytes))
        if self.done and (seconds := time.monotonic() - self._counted) > _LONG:
            rate = self.done / seconds
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        left = self.seconds_left
        if self._waiting:
            parts.append(self._waiting)
        elif self.done >= self.total or left is None:
            parts.append(_clock(self.seconds))
        else:
            parts.append(f"{_clock(left)} left")
        return ", ".join(parts)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown >= self._view.every:
            self._shown = now
            self._view.show(self)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


class Watch(Callback):
    """Calls what is given by key with the result of each task of a local scheduler."""

    def __init__(self, calls: Mapping[Any, Callable[[Any], None]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls

    def _posttask(self, key: Any, result: Any, *_: Any) -> None:
        if key in self._calls:
            self._calls[key](result)


class View:
    """How progress is shown; this one shows nothing."""

    every = float("inf")  # seconds between two updates

    def show(self, progress: Progress) -> None:
        """Show how far a step is."""

    def end(self, progress: Progress, *, keep: bool) -> None:
        """Show the end of a step, or only what must stay visible of it."""


class _Log(View):
    """A line now and then, and at the end."""

    every = 10.0

    def show(self, progress: Progress) -> None:
        say(f"{progress}\n", sys.stderr)

    def end(self, progress: Progress, *, keep: bool) -> None:
        if keep or progress.seconds >= self.every:
            self.show(progress)


class _Terminal(View):
    """A line with a bar."""

    every = 0.1

    def show(self, progress: Progress) -> None:
        bar = ("#" * round(progress.fraction * _BAR)).ljust(_BAR)
        say(f"\r\x1b[K[{bar}] {progress}", sys.stderr)

    def end(self, progress: Progress, *, keep: bool) -> None:
        if keep or progress.seconds >= _LONG:
            self.show(progress)
            say("\n", sys.stderr)
        else:
            say("\r\x1b[K", sys.stderr)


class _Notebook(View):
    """HTML without widgets, saved with the notebook; each step takes the place of the last."""

    every = 0.5
    _handle: Any = None

    def show(self, progress: Progress) -> None:
        from IPython.display import display  # noqa: PLC0415  only in a notebook

        text = str(progress)
        bar = f'<progress max="1" value="{progress.fraction:.4f}" style="vertical-align:middle">'
        view = {"text/plain": text, "text/html": f"{bar}</progress> {html.escape(text)}"}
        if self._handle is None:
            self._handle = display(view, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(view, raw=True)

    def end(self, progress: Progress, *, keep: bool) -> None:
        if keep or self._handle is not None:
            self.show(progress)


_NONE = View()
_view: ContextVar[View] = ContextVar("view", default=_NONE)


def is_shown() -> bool:
    """Whether progress is shown here."""
    return _view.get() is not _NONE


@contextmanager
def show_progress(shown: bool) -> Iterator[None]:
    """Show the steps that are followed within the block on stderr or in the notebook, or not."""
    token = _view.set(_choose_view() if shown else _NONE)
    try:
        yield
    finally:
        _view.reset(token)


@contextmanager
def follow(
    what: str, total: int, unit: str, n_blocks: int = 0, *, keep: bool = False
) -> Iterator[Progress]:
    """Show the progress of a step.

    Parameters
    ----------
    what, total, unit, n_blocks
        As in `Progress`.
    keep
        Whether its end stays visible though the step was short; that of one that fails does.
    """
    view = _view.get()
    progress = Progress(what, total, unit, n_blocks, view)
    failed = True
    try:
        yield progress
        failed = False
    finally:
        view.end(progress, keep=keep or failed)
        if not isinstance(view, _Log):  # which has printed it
            _log.info("%s", progress)


def _choose_view() -> View:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and hasattr(shell, "kernel"):
        return _Notebook()
    return _Terminal() if sys.stderr.isatty() else _Log()
