"""How a command runs: its log and warnings, what its errors say, and how it is stopped."""

from __future__ import annotations

import gc
import logging
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from cellucid_dask.cli.parser import Command, given
from cellucid_dask.display import printable, say
from cellucid_dask.errors import ExportError, ExportWarning, RequestError, told_in_shell
from cellucid_dask.secrets import redacted

_FAILED, _WRONG, _STOPPED = 1, 2, 130
_HINT = " (--debug shows where)"


class GuardedCommand(Command):
    """A command whose errors are one line each, and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and return its exit code."""
        _end_on_terminate()
        # Tasks keep every core busy already; threads of libraries would cost time and memory.
        os.environ.setdefault("ZARR_THREADING__MAX_WORKERS", "1")
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        with told_in_shell(), _log(ctx), _warnings(ctx.params):
            try:
                return super().invoke(ctx)
            except click.ClickException:
                raise
            except RequestError as error:
                return _report(error, _WRONG, ctx)
            except KeyboardInterrupt:
                say(f"stopped{_how_to_go_on(ctx)}\n", sys.stderr)
                return _STOPPED
            except Exception as error:  # noqa: BLE001  a traceback would not help the user
                return _report(error, _FAILED, ctx)


@contextmanager
def importing() -> Iterator[None]:
    """Import modules without looking for garbage among them: now, later, and at the end.

    There is none, and to find that out would take a tenth of a second or two.
    """
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # a process may run other commands, which leave garbage
            gc.freeze()
        gc.enable()


def _how_to_go_on(ctx: click.Context) -> str:
    if ctx.info_name != "export":
        return ""
    arguments = [each for each in ctx.find_root().obj if each not in {"--force", "--resume"}]
    plain = [_plain(ctx, each) for each in arguments]
    command = shlex.join(["cellucid-dask", *plain, "--resume"])
    return f": the target contains no complete export. Continue with --resume:\n{command}"


def _report(error: BaseException, code: int, ctx: click.Context) -> int:
    if ctx.params["debug"]:
        say(_plain(ctx, "".join(traceback.format_exception(error))), sys.stderr)
        return code
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = "Out of memory: use a smaller --memory-budget, or raise this process's limit."
    elif not isinstance(error, RequestError | ExportError):
        text = _plain(ctx, f"{type(error).__name__}: {text}")[:300] + _HINT
    say(f"error: {printable(text)}\n", sys.stderr)
    return code


def _plain(ctx: click.Context, text: str) -> str:
    """Return a text of libraries without control characters and secrets of the command."""
    return printable(redacted(text, *ctx.params.values(), *given(ctx).values()))


class _Plain(logging.Formatter):
    """Lines of a log without control characters and secrets."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__("%(asctime)s %(name)s: %(message)s", "%H:%M:%S")
        self._ctx = ctx

    def format(self, record: logging.LogRecord) -> str:
        return _plain(self._ctx, super().format(record))


def _end_on_terminate() -> None:
    """Handle SIGTERM, which batch systems send, like Ctrl-C, so that scratch is removed."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def _log(ctx: click.Context) -> Iterator[None]:
    """Print the log, as much as was asked for."""
    root = logging.getLogger()
    handler: logging.Handler = logging.NullHandler()  # libraries of stores log tracebacks
    logger, level = logging.getLogger("cellucid_dask"), logging.NOTSET
    if ctx.params["verbose"]:
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain(ctx))
        level = logging.INFO if ctx.params["verbose"] == 1 else logging.DEBUG
        logger = logger if ctx.params["verbose"] == 1 else root
    before = logger.level
    root.addHandler(handler)
    logger.setLevel(level or before)
    try:
        yield
    finally:
        logger.setLevel(before)
        root.removeHandler(handler)


@contextmanager
def _warnings(options: dict[str, Any]) -> Iterator[None]:
    """Print each warning about an export in a line, and none of libraries."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, ExportWarning):
            say(f"warning: {printable(message)}\n", sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("ignore" if options["quiet"] else "always", ExportWarning)
        yield
