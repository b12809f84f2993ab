"""The parser of the command line; its options of an export are made from `Settings`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from cellucid_dask._version import __version__
from cellucid_dask.request.settings import SECTIONS, Settings

_ABOUT = "Export single-cell data of any size for the Cellucid viewer."
_SOURCE = "h5ad or AnnData Zarr, path or URL"
_OPTIONS = {each.name: each for each in fields(Settings)}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one line; the usage is long and --help shows it."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


class _Pairs(argparse.Action):
    """Collect repeated ``KEY=VALUE``; a value is JSON (true, 10, {...}) if it can be, else text."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *_: Any) -> None:  # noqa: ARG002
        key, separator, value = values.partition("=")
        if not separator or not key:
            raise argparse.ArgumentError(self, "write it as KEY=VALUE")
        with suppress(ValueError):
            value = json.loads(value)
        setattr(namespace, self.dest, getattr(namespace, self.dest, {}) | {key: value})


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="cellucid-dask", description=_ABOUT)
    parser.add_argument("--version", action="version", version=f"cellucid-dask {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    export = commands.add_parser("export", help="export a data set", description=_ABOUT)
    export.add_argument("source", metavar="SOURCE", help=_SOURCE)
    export.add_argument("target", metavar="TARGET", help="folder, or URL such as s3://bucket/atlas")
    _add_settings(export)
    plan = commands.add_parser("plan", help="say how an export would run; write nothing")
    plan.add_argument("source", metavar="SOURCE", help=_SOURCE)
    plan.add_argument("target", metavar="TARGET", nargs="?", help="checked when given")
    _add_settings(plan)
    verify = commands.add_parser("verify", help="check an export, and compare it with its source")
    _add_verify_options(verify)
    demo = commands.add_parser("demo", help="make, export and verify a data set; say what to see")
    demo.add_argument("folder", metavar="DIR", nargs="?", default="cellucid-demo")
    demo.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    listing = commands.add_parser("catalog", help="list the exports under ROOT in datasets.json")
    listing.add_argument("root", metavar="ROOT", help="folder or URL whose subfolders are exports")
    listing.add_argument("--default", metavar="ID", help="data set to show first")
    _add_option(listing, "page", "do not write the page that shows them")
    _add_option(listing, "storage_options", "of the root")
    listing.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    _add_view(commands.add_parser("view", help="show an export in the browser, from any store"))
    page = commands.add_parser("page", help="add the page to an export, or bring it up to date")
    page.add_argument("target", metavar="TARGET", help="export, or folder of several; path or URL")
    _add_option(page, "storage_options", "of the target")
    page.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="TARGET", help="export, or folder of several; path or URL"
    )
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="port to listen on (default any)"
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="print the address only"
    )
    _add_option(parser, "storage_options", "of the target")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every option of `Settings`, in its order and by section."""
    for section in SECTIONS:
        group: Any = parser.add_argument_group(section)
        if section == SECTIONS[-1]:
            _add_workers(group)
        alternatives: dict[str, Any] = {}
        for name, each in _OPTIONS.items():
            if each.metadata["section"] != section:
                continue
            parent, either = group, each.metadata.get("either")
            if either:
                parent = alternatives.get(either) or group.add_mutually_exclusive_group()
                alternatives[either] = parent
            _add_option(parent, name)
            if name == "gene_identifiers":
                parent.add_argument(
                    "--genes-file", dest=name, type=_lines, default=argparse.SUPPRESS,
                    metavar="FILE", help="a file of gene names, one a line",
                )  # fmt: skip
    _add_output(group, "result")


def _add_option(parent: Any, name: str, text: str | None = None) -> None:
    """Add one option of `Settings`; if it is not given, the parser returns nothing for it."""
    option = _OPTIONS[name]
    given = option.metadata
    repeat, metavar = given.get("repeat"), given["metavar"]
    flag = given.get("flag") or f"--{name.removesuffix('s') if repeat else name}"
    text = text or given["text"]
    if isinstance(option.default, bool):
        flag = flag.replace("--", "--no-") if option.default else flag
        how: dict[str, Any] = {"action": "store_false" if option.default else "store_true"}
    elif metavar == "K=V":
        text = f"fsspec option {text}; text or JSON (true)"
        how = {"action": _Pairs, "metavar": metavar}
    else:
        how = {"action": "append"} if repeat else {"type": _READ.get(metavar, str)}
        how["metavar"] = metavar
        text += "" if option.default is None else f" (default {option.default})"
    parent.add_argument(
        flag.replace("_", "-"), dest=name, default=argparse.SUPPRESS,
        help=f"{text}; may be repeated" if repeat else text, **how,
    )  # fmt: skip


def _add_workers(parser: Any) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler")
    either.add_argument(
        "--n-workers", type=_processes, metavar="N", help="start N worker processes"
    )


def _add_output(parser: Any, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print the {what} as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="folder or URL of an export")
    parser.add_argument("--source", metavar="SOURCE", help="what it was made of: compare genes")
    parser.add_argument(
        "--genes",
        type=_count,
        metavar="N|all",
        help="genes to read and compare (default: read all, compare 100)",
    )
    _add_option(parser, "layer", "of the source: X, raw or a layer (default as exported)")
    _add_workers(parser)
    _add_option(parser, "memory_budget", "such as 512MiB, for comparing")
    _add_option(parser, "storage_options", "of the export")
    _add_option(parser, "source_storage_options")
    _add_option(parser, "allow_links")
    _add_output(parser, "report")


def _count(text: str) -> int | str:
    if text != "all" and not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is neither all nor a number of 1 or more")
    return text if text == "all" else int(text)


def _processes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of processes from 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give a number from 0 to 65535")
    return int(text)


def _names(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


def _lines(path: str) -> list[str]:
    # one without a writer would be waited for; a shell's <(...) is not in a folder of files
    if Path(path).is_fifo() and not path.startswith("/dev/"):
        raise argparse.ArgumentTypeError(f"{path} is a named pipe: write the names into a file")
    try:
        # Excel and Notepad put a byte order mark before the first name
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):  # the last if there is no home
        raise argparse.ArgumentTypeError(f"the gene list {path} cannot be read") from None
    return [name for line in lines if (name := line.strip())]


def _text_or_none(text: str) -> str | None:
    return None if text == "none" else text


def _number_or_none(text: str) -> int | str | None:
    """Read a number; `Settings` refuses any other text."""
    return int(text) if text.isdecimal() else _text_or_none(text)


# How a value is read that is written as its metavar shows; all others are text.
_READ: dict[str, Callable[[str], Any]] = {
    "A,B": _names,
    "A,B,C": _names,
    "KEY|none": _text_or_none,
    "log1p-cp10k|none": _text_or_none,
    "8|16|none": _number_or_none,
    "0-9": _number_or_none,
    "N": int,
    "Q": float,
}
