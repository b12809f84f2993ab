"""The arguments of the command line; their destinations are the names of `Settings`."""

from __future__ import annotations

import argparse
import json
from typing import Any, NoReturn

from cellucid_dask._version import __version__

_ABOUT = "Export single-cell data of any size for the Cellucid viewer."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; the usage is long and --help shows it."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="cellucid-dask", description=_ABOUT)
    parser.add_argument("--version", action="version", version=f"cellucid-dask {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    export = commands.add_parser("export", help="export a data set", description=_ABOUT)
    export.add_argument("source", metavar="SOURCE", help="h5ad or AnnData Zarr, path or URL")
    export.add_argument("target", metavar="TARGET", help="folder, or URL such as s3://bucket/atlas")
    _add_options(export)
    plan = commands.add_parser("plan", help="say how an export would run; write nothing")
    plan.add_argument("source", metavar="SOURCE", help="h5ad or AnnData Zarr, path or URL")
    plan.add_argument("target", metavar="TARGET", nargs="?", help="checked when given")
    _add_options(plan)
    verify = commands.add_parser("verify", help="check an export, and compare it with its source")
    _add_verify_options(verify)
    demo = commands.add_parser("demo", help="make, export and verify a data set; say what to see")
    demo.add_argument("folder", metavar="DIR", nargs="?", default="cellucid-demo")
    demo.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    listing = commands.add_parser("catalog", help="list the exports under ROOT in datasets.json")
    listing.add_argument("root", metavar="ROOT", help="folder or URL whose subfolders are exports")
    listing.add_argument("--default", metavar="ID", help="data set to show first")
    _add_storage_option(listing, "", "the root")
    listing.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    return parser


def _add_storage_option(parser: Any, prefix: str, place: str) -> None:
    parser.add_argument(
        f"--{prefix}storage-option",
        dest=f"{prefix.replace('-', '_')}storage_options",
        type=_pair,
        action="append",
        metavar="K=V",
        help=f"fsspec option of {place}; text or JSON (true), may be repeated",
    )


def _add_workers(parser: Any) -> None:
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler")
    place.add_argument("--n-workers", type=_processes, metavar="N", help="start N worker processes")


def _add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to export")
    what.add_argument("--layer", default="X", help="X, raw or a layer (default X)")
    what.add_argument(
        "--normalize",
        choices=["log1p-cp10k"],
        help="of raw counts: scale each cell's to 10,000 together, then log1p",
    )
    genes = what.add_mutually_exclusive_group()
    genes.add_argument("--genes", type=_list, metavar="A,B,C", help="genes, in this order")
    genes.add_argument("--genes-file", metavar="FILE", help="a file of gene names")
    genes.add_argument("--genes-from", metavar="COLUMN", help="boolean var column")
    what.add_argument(
        "--var-gene-id-column",
        default="index",
        metavar="COLUMN",
        help="var column that names the genes (default index)",
    )
    what.add_argument(
        "--make-genes-unique", action="store_true", help="tell duplicate gene names apart"
    )
    what.add_argument(
        "--skip-missing-genes",
        action="store_true",
        help="go on when some of the genes are not there",
    )
    what.add_argument("--genes-only", action="store_true", help="write the genes and nothing else")
    what.add_argument("--obs-keys", type=_list, metavar="A,B", help="obs columns (default all)")
    what.add_argument(
        "--embedding",
        dest="embeddings",
        action="append",
        metavar="KEY",
        help="obsm key, or KEY:0,1 for some columns; may be repeated",
    )
    what.add_argument("--latent", metavar="KEY", help="obsm key in which outliers are measured")
    what.add_argument(
        "--connectivities",
        type=_none_or_key,
        metavar="KEY|none",
        help="obsp key of the neighbor graph (default none)",
    )
    what.add_argument(
        "--vector-field",
        dest="vector_fields",
        action="append",
        metavar="KEY",
        help="obsm key of a vector field such as velocity_umap; may be repeated",
    )

    how = parser.add_argument_group("how to store it")
    how.add_argument(
        "--var-quantization",
        type=_bits,
        default=8,
        metavar="8|16|none",
        help="bits of a gene's values (default 8)",
    )
    how.add_argument(
        "--obs-continuous-quantization",
        type=_bits,
        default=8,
        metavar="8|16|none",
        help="bits of a numeric column's values (default 8)",
    )
    how.add_argument(
        "--obs-categorical-dtype",
        default="auto",
        metavar="auto|uint8|uint16",
        help="codes of a category column (default auto)",
    )
    how.add_argument(
        "--compression",
        type=_level,
        default=6,
        metavar="0-9",
        help="gzip level (default 6); 0 for none",
    )
    how.add_argument(
        "--centroid-outlier-quantile",
        type=float,
        default=0.95,
        metavar="Q",
        help="share of a category's cells its centroid is made of (default 0.95)",
    )
    how.add_argument(
        "--centroid-min-points",
        type=int,
        default=10,
        metavar="N",
        help="cells a category needs for a centroid (default 10)",
    )

    about = parser.add_argument_group("what to say of it")
    for option in (
        "dataset-id",
        "dataset-name",
        "dataset-description",
        "source-name",
        "source-url",
        "source-citation",
    ):
        about.add_argument(f"--{option}", metavar="TEXT")
    about.add_argument("--created-at", metavar="TIME", help="2026-01-31T12:00:00Z (default now)")

    run = parser.add_argument_group("how to run")
    _add_workers(run)
    run.add_argument("--memory-budget", metavar="SIZE", help="such as 512MiB (default by machine)")
    run.add_argument("--scratch", metavar="URL", help="place for intermediate files")
    _add_storage_option(run, "", "the target")
    _add_storage_option(run, "source-", "the source")
    again = run.add_mutually_exclusive_group()
    again.add_argument("--force", action="store_true", help="replace the export in TARGET")
    again.add_argument("--resume", action="store_true", help="go on where a stopped run was")
    run.add_argument("--no-progress", dest="progress", action="store_false")
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    run.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="folder or URL of an export")
    parser.add_argument("--source", metavar="SOURCE", help="what it was made of: compare genes")
    parser.add_argument(
        "--genes",
        type=_count,
        metavar="N|all",
        help="genes to read and compare (default: read all, compare 100)",
    )
    parser.add_argument("--layer", default="X", help="of the source: X, raw or a layer (default X)")
    _add_workers(parser)
    parser.add_argument("--memory-budget", metavar="SIZE", help="such as 512MiB, for comparing")
    _add_storage_option(parser, "", "the export")
    _add_storage_option(parser, "source-", "the source")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _count(text: str) -> int | str:
    if text != "all" and not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is neither all nor a number of 1 or more")
    return text if text == "all" else int(text)


def _list(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


def _none_or_key(text: str) -> str | None:
    return None if text == "none" else text


def _bits(text: str) -> int | None:
    if text not in ("8", "16", "none"):
        raise argparse.ArgumentTypeError(f"{text} is none of 8, 16 and none")
    return None if text == "none" else int(text)


def _level(text: str) -> int | None:
    if text not in (*"0123456789", "none"):
        raise argparse.ArgumentTypeError(f"{text} is no gzip level from 0 to 9")
    return None if text == "none" else int(text)


def _processes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of processes from 1")
    return int(text)


def _pair(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is JSON (true, 10, {...}) where it can be, else text."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError("write it as KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
