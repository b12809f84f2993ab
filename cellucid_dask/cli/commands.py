"""The command line. Exit codes: 0 done, 1 the work failed, 2 the request was wrong."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

from cellucid_dask.cli.parser import build_parser
from cellucid_dask.errors import ExportError, ExportWarning, RequestError

_DONE, _FAILED, _WRONG = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    _end_on_terminate()
    # Tasks keep every core busy already: threads of libraries would only take time and memory.
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
        print(f"stopped: {whole}" if options.command == "export" else "stopped", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001  whatever it is, a traceback helps nobody here
        return _report(error, _FAILED, options)


def _report(error: BaseException, code: int, options: argparse.Namespace) -> int:
    if options.debug:
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = "Memory ran out: give a smaller --memory-budget, or lift this process's limit."
    elif not isinstance(error, RequestError | ExportError):
        text = f"{type(error).__name__}: {text[:300]} (--debug shows where)"
    print(f"error: {text}", file=sys.stderr)
    return code


def _end_on_terminate() -> None:
    """Let SIGTERM, which batch systems send, unwind like Ctrl-C: scratch is removed."""

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def _print_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    if issubclass(category, ExportWarning):
        print(f"warning: {message}", file=sys.stderr)


def _export(options: argparse.Namespace) -> int:
    from cellucid_dask.api import export  # noqa: PLC0415  --help need not wait for it
    from cellucid_dask.runtime.memory import limit_malloc_cache  # noqa: PLC0415

    limit_malloc_cache()
    with _scheduler(options):
        result = export(options.source, options.target, **_settings(options))
    print(json.dumps(result.to_dict()) if options.json else result)
    return _DONE


def _plan(options: argparse.Namespace) -> int:
    from cellucid_dask.api import plan  # noqa: PLC0415

    with _scheduler(options):
        found = plan(options.source, options.target, **_settings(options))
    print(json.dumps(found.to_dict()) if options.json else found)
    return _DONE


def _verify(options: argparse.Namespace) -> int:
    from cellucid_dask.read.verify import verify  # noqa: PLC0415

    with _scheduler(options):
        report = verify(
            options.target,
            options.source,
            genes=options.genes,
            layer=options.layer,
            memory_budget=options.memory_budget,
            storage_options=dict(options.storage_options or ()),
            source_storage_options=dict(options.source_storage_options or ()),
        )
    print(json.dumps(report.to_dict()) if options.json else report)
    return _DONE if report.ok else _FAILED


def _demo(options: argparse.Namespace) -> int:
    from cellucid_dask.cli.demo import demo  # noqa: PLC0415

    print(demo(Path(options.folder)))
    return _DONE


def _catalog(options: argparse.Namespace) -> int:
    from cellucid_dask.read.catalog import catalog  # noqa: PLC0415

    listed = catalog(options.root, dict(options.storage_options or ()), options.default)
    print("\n".join(f"{each['id']}: {each['path']}" for each in listed["datasets"]))
    return _DONE


def _scheduler(options: argparse.Namespace) -> Any:
    from cellucid_dask.runtime import cluster  # noqa: PLC0415

    if options.scheduler:
        return cluster.connect(options.scheduler)
    return cluster.start(options.n_workers) if options.n_workers else nullcontext()


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        name: value
        for name, value in vars(options).items()
        if name not in ("source", "target", "json", "debug", "scheduler", "n_workers",
                        "genes", "genes_file", "command")
    }  # fmt: skip
    genes = options.genes
    if options.genes_file:
        try:
            genes = Path(options.genes_file).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError):
            raise RequestError(f"The gene list {options.genes_file} cannot be read.") from None
    return {
        **given,
        "gene_identifiers": genes,
        "storage_options": dict(options.storage_options or ()),
        "source_storage_options": dict(options.source_storage_options or ()),
    }


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "export": _export,
    "plan": _plan,
    "verify": _verify,
    "demo": _demo,
    "catalog": _catalog,
}
