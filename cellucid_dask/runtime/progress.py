"""How far an export is: one state, shown as a terminal, a notebook or a log wants it."""

from __future__ import annotations

import html
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dask.callbacks import Callback

from cellucid_dask.display import size

_log = logging.getLogger("cellucid_dask")
# Reading and transposing a value takes about half the time of encoding it.
_READ, _ENCODE = 1, 2
_BAR = 24
# Seconds between two views.
_TERMINAL, _NOTEBOOK, _LINES = 0.1, 0.5, 10.0

Show = Callable[["Progress"], None]


class Progress:
    """What of an export is done.

    Attributes
    ----------
    blocks, n_blocks
        Blocks that were read to wait as parts, and all of them; none on route ``direct``.
    genes, n_genes
        Genes in the target, and all of them.
    nbytes
        Bytes of their files.
    """

    def __init__(self, n_blocks: int, n_genes: int, show: Show, every: float) -> None:
        self.blocks, self.n_blocks = 0, n_blocks
        self.genes, self.n_genes = 0, n_genes
        self.nbytes = 0
        self._show, self._every = show, every
        self._begun = self._shown = time.monotonic()

    def read(self, blocks: int = 1) -> None:
        """Note that blocks were read."""
        self.blocks += blocks
        self._refresh()

    def encoded(self, genes: int, nbytes: int) -> None:
        """Note that genes are in the target."""
        self.genes += genes
        self.nbytes += nbytes
        self._refresh()

    @property
    def fraction(self) -> float:
        """How much of the work is done, from 0 to 1."""
        all_work = _ENCODE + (_READ if self.n_blocks else 0)
        done = _ENCODE * self.genes / max(self.n_genes, 1)
        done += _READ * self.blocks / max(self.n_blocks, 1)
        return min(done / all_work, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; ``None`` before there is any."""
        fraction = self.fraction
        return (time.monotonic() - self._begun) * (1 - fraction) / fraction if fraction else None

    def __str__(self) -> str:
        """Return one line to print."""
        text = f"{self.genes:,} of {self.n_genes:,} genes, {size(self.nbytes)}"
        if self.n_blocks and not self.genes:
            text = f"read {self.blocks:,} of {self.n_blocks:,} blocks"
        left = self.seconds_left
        if self.genes == self.n_genes:
            return f"{text}, {_clock(time.monotonic() - self._begun)}"
        return text if left is None else f"{text}, {_clock(left)} left"

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._show(self)


class Watch(Callback):
    """Tells progress of the tasks of a local scheduler."""

    def __init__(self, progress: Progress, reads: Sequence[Any], encodes: Sequence[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._progress = progress
        self._reads, self._encodes = set(reads), set(encodes)

    def _posttask(self, key: Any, result: Any, *_: Any) -> None:
        if key in self._encodes:
            self._progress.encoded(len(result.column), int(result.nbytes.sum()))
        elif key in self._reads:
            self._progress.read()


@contextmanager
def follow(n_blocks: int, n_genes: int, *, shown: bool) -> Iterator[Progress]:
    """Show how far a run of the plan is, on stderr or in the notebook; it may fail.

    Parameters
    ----------
    n_blocks, n_genes
        What there is to do.
    shown
        Whether to show it; if not it is only counted.
    """
    show, every, end = _view() if shown else (_nothing, float("inf"), _nothing)
    progress = Progress(n_blocks, n_genes, show, every)
    try:
        yield progress
    finally:
        end(progress)
        _log.info("%s", progress)


def _view() -> tuple[Show, float, Show]:
    """Choose how to show progress: a view, the seconds between two, and the last one."""
    if (notebook := _notebook()) is not None:
        return notebook, _NOTEBOOK, notebook
    if sys.stderr.isatty():
        return _bar, _TERMINAL, _last_bar
    return _line, _LINES, _line


def _nothing(_: Progress) -> None:
    pass


def _line(progress: Progress) -> None:
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()


def _bar(progress: Progress, end: str = "") -> None:
    bar = ("#" * round(progress.fraction * _BAR)).ljust(_BAR)
    sys.stderr.write(f"\r\x1b[K[{bar}] {progress}{end}")
    sys.stderr.flush()


def _last_bar(progress: Progress) -> None:
    _bar(progress, "\n")


def _notebook() -> Show | None:
    """Return a view for a notebook, if this is one; it needs no widgets and is saved with it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # noqa: PLC0415  it is there

    handle: Any = None

    def show(progress: Progress) -> None:
        nonlocal handle
        view = _View(progress)
        if handle is None:
            handle = display(view, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(view)

    return show


class _View:
    """A progress bar in HTML, with plain text beside it."""

    def __init__(self, progress: Progress) -> None:
        self._text, self._fraction = str(progress), progress.fraction

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return (
            f'<progress max="1" value="{self._fraction:.4f}" style="vertical-align:middle">'
            f"</progress> {html.escape(self._text)}"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
