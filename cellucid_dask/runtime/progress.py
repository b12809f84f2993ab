"""The progress of an export, shown as suits a terminal, a notebook or a log."""

from __future__ import annotations

import html
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from dask.callbacks import Callback
from dask.utils import format_bytes

from cellucid_dask.display import say

_log = logging.getLogger("cellucid_dask")
# Reading and transposing a value takes about half the time of encoding it.
_READ, _ENCODE = 1, 2
_BAR = 24
# Seconds between two updates.
_TERMINAL, _NOTEBOOK, _LINES = 0.1, 0.5, 10.0

Show = Callable[["Progress"], None]


class Progress:
    """Counts of what is done.

    Attributes
    ----------
    blocks, n_blocks
        Blocks read into tiles, and all of them; 0 on route ``direct``.
    genes, n_genes
        Genes in the target, and all of them.
    nbytes
        Total size of their files.
    """

    def __init__(self, n_blocks: int, n_genes: int, show: Show, every: float) -> None:
        self.blocks, self.n_blocks = 0, n_blocks
        self.genes, self.n_genes = 0, n_genes
        self.nbytes = 0
        self._show, self._every = show, every
        self._started = self._shown = time.monotonic()

    def read(self, blocks: int = 1) -> None:
        """Count blocks that were read."""
        self.blocks += blocks
        self._refresh()

    def encoded(self, genes: int, nbytes: int) -> None:
        """Count genes whose files, `nbytes` together, are in the target."""
        self.genes += genes
        self.nbytes += nbytes
        self._refresh()

    @property
    def fraction(self) -> float:
        """Share of the work that is done, from 0 to 1."""
        total = _ENCODE + (_READ if self.n_blocks else 0)
        done = _ENCODE * self.genes / max(self.n_genes, 1)
        done += _READ * self.blocks / max(self.n_blocks, 1)
        return min(done / total, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the average speed so far; ``None`` at the start."""
        fraction = self.fraction
        return (time.monotonic() - self._started) * (1 - fraction) / fraction if fraction else None

    def __str__(self) -> str:
        """Return one line to print."""
        text = f"{self.genes:,} of {self.n_genes:,} genes, {format_bytes(self.nbytes)}"
        if self.n_blocks and not self.genes:
            text = f"read {self.blocks:,} of {self.n_blocks:,} blocks"
        if self.genes == self.n_genes:
            return f"{text}, {timedelta(seconds=int(time.monotonic() - self._started))}"
        left = self.seconds_left
        return text if left is None else f"{text}, {timedelta(seconds=int(left))} left"

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._show(self)


class Watch(Callback):
    """Counts finished tasks of a local scheduler."""

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
    """Show the progress of a run on stderr or in the notebook, also at its end if it fails.

    Parameters
    ----------
    n_blocks, n_genes
        Number of blocks to read and of genes to encode.
    shown
        Whether to show it; otherwise it is only counted and logged.
    """
    show, every, end = _view() if shown else (lambda _: None, float("inf"), "")
    progress = Progress(n_blocks, n_genes, show, every)
    try:
        yield progress
    finally:
        show(progress)
        say(end, sys.stderr)
        _log.info("%s", progress)


def _view() -> tuple[Show, float, str]:
    """Choose how to show progress; return it, the seconds between updates, and a last word."""
    if (notebook := _notebook()) is not None:
        return notebook, _NOTEBOOK, ""
    if sys.stderr.isatty():
        return _bar, _TERMINAL, "\n"
    return _line, _LINES, ""


def _line(progress: Progress) -> None:
    say(f"{progress}\n", sys.stderr)


def _bar(progress: Progress) -> None:
    bar = ("#" * round(progress.fraction * _BAR)).ljust(_BAR)
    say(f"\r\x1b[K[{bar}] {progress}", sys.stderr)


def _notebook() -> Show | None:
    """Return a view for a notebook, if this is one: HTML without widgets, saved with it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # noqa: PLC0415  only in a notebook

    handle: Any = None

    def show(progress: Progress) -> None:
        nonlocal handle
        text = str(progress)
        bar = f'<progress max="1" value="{progress.fraction:.4f}" style="vertical-align:middle">'
        view = {"text/plain": text, "text/html": f"{bar}</progress> {html.escape(text)}"}
        if handle is None:
            handle = display(view, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(view, raw=True)

    return show
