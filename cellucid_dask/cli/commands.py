"""The command line. Exit codes: 0 done, 1 the work failed, 2 the request was wrong."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import signal
import sys
import warnings
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from cellucid_dask.cli.parser import build_parser
from cellucid_dask.display import printable, say
from cellucid_dask.errors import ExportError, ExportWarning, RequestError
from cellucid_dask.request.settings import Settings

_DONE, _FAILED, _WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    _end_on_terminate()
    # Tasks keep every core busy already; threads of libraries would cost time and memory.
    os.environ.setdefault("ZARR_THREADING__MAX_WORKERS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.showwarning = _print_warning
    if not getattr(options, "debug", False):  # libraries of stores log tracebacks
        logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("always", ExportWarning)
    try:
        return _COMMANDS[options.command](options)
    except RequestError as error:
        return _report(error, _WRONG, options)
    except KeyboardInterrupt:
        whole = "the target holds no whole export; --resume goes on."
        text = f"stopped: {whole}" if options.command == "export" else "stopped"
        say(f"{text}\n", sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001  a traceback would not help the user
        return _report(error, _FAILED, options)


def _report(error: BaseException, code: int, options: argparse.Namespace) -> int:
    if options.debug:
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = "Memory ran out: give a smaller --memory-budget, or lift this process's limit."
    elif not isinstance(error, RequestError | ExportError):
        text = f"{type(error).__name__}: {text[:300]} (--debug shows where)"
    say(f"error: {printable(text)}\n", sys.stderr)
    return code


def _end_on_terminate() -> None:
    """Handle SIGTERM, which batch systems send, like Ctrl-C, so that scratch is removed."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _print_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    if issubclass(category, ExportWarning):
        say(f"warning: {printable(message)}\n", sys.stderr)


def _export(options: argparse.Namespace) -> int:
    from cellucid_dask.api import export  # noqa: PLC0415  --help need not wait for it
    from cellucid_dask.runtime.memory import limit_malloc_cache  # noqa: PLC0415

    limit_malloc_cache()
    with _scheduler(options):
        result = export(options.source, options.target, **_settings(options))
    _print(json.dumps(result.to_dict()) if options.json else result)
    if not options.json and result.embeddings:
        _print(f"Look at it: cellucid-dask view {shlex.quote(result.target)}")
    return _DONE


def _plan(options: argparse.Namespace) -> int:
    from cellucid_dask.api import plan  # noqa: PLC0415

    with _scheduler(options):
        planned = plan(options.source, options.target, **_settings(options))
    _print(json.dumps(planned.to_dict()) if options.json else planned)
    return _DONE


def _verify(options: argparse.Namespace) -> int:
    from cellucid_dask.read.verify import verify  # noqa: PLC0415

    with _scheduler(options):
        report = verify(options.target, options.source, genes=options.genes, **_settings(options))
    _print(json.dumps(report.to_dict()) if options.json else report)
    return _DONE if report.ok else _FAILED


def _demo(options: argparse.Namespace) -> int:
    from cellucid_dask.cli.demo import demo  # noqa: PLC0415
    from cellucid_dask.store.location import Location  # noqa: PLC0415

    folder = Location.of(options.folder)
    if not folder.is_local:
        raise RequestError(
            f"{folder} is no folder of a local disk, where the demo works: name one."
        )
    _print(demo(Path(folder.url)))
    return _DONE


def _catalog(options: argparse.Namespace) -> int:
    from cellucid_dask.read.catalog import catalog  # noqa: PLC0415

    listed = catalog(options.root, default=options.default, **_settings(options))
    _print("\n".join(f"{each['id']}: {each['path']}" for each in listed["datasets"]))
    return _DONE


def _view(options: argparse.Namespace) -> int:
    from cellucid_dask.read.serve import Server  # noqa: PLC0415
    from cellucid_dask.store.target import Target  # noqa: PLC0415

    target = Target.of(options.target, _settings(options).get("storage_options", {}))
    server = Server(target, options.port)
    _print(f"{target} is shown at {server.url}\nCtrl-C stops.")
    if options.browser:
        webbrowser.open(server.url)
    with suppress(KeyboardInterrupt):
        server.run()
    server.close()
    return _DONE


def _page(options: argparse.Namespace) -> int:
    from cellucid_dask.read.page import add_page  # noqa: PLC0415

    url = add_page(options.target, **_settings(options))
    _print(f"Wrote the page of {url}\nLook at it: cellucid-dask view {shlex.quote(url)}")
    return _DONE


def _print(result: object) -> None:
    say(f"{printable(result)}\n", sys.stdout)


def _scheduler(options: argparse.Namespace) -> Any:
    from cellucid_dask.runtime import cluster  # noqa: PLC0415

    if options.scheduler:
        return cluster.connect(options.scheduler)
    return cluster.start(options.n_workers) if options.n_workers else nullcontext()


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of an export that were given."""
    known = {each.name for each in fields(Settings)}
    return {name: value for name, value in vars(options).items() if name in known}


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "export": _export,
    "plan": _plan,
    "verify": _verify,
    "demo": _demo,
    "catalog": _catalog,
    "view": _view,
    "page": _page,
}
