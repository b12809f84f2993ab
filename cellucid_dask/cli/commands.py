"""The command line. Exit codes: 0 success, 1 failure, 2 invalid request."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from cellucid_dask._version import __version__
from cellucid_dask.cli.parser import (
    Argument,
    Option,
    count_or_names,
    flag_meant,
    given,
    output_options,
    port_number,
    settings_option,
    settings_options,
    workers_options,
)
from cellucid_dask.cli.running import GuardedCommand, importing
from cellucid_dask.display import printable, say
from cellucid_dask.errors import RequestError

_DONE, _FAILED, _WRONG, _STOPPED = 0, 1, 2, 130
_PROGRAM = "cellucid-dask"
_VARIABLES = "CELLUCID_DASK"
_SOURCE = "path or URL of an h5ad or AnnData Zarr, or of a part, such as atlas.h5mu#rna"
_EXPORT = "folder or URL of an export"
_SHOWN = "path or URL of an export, or of a folder of exports"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given_arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return int(cli.main(given_arguments, _PROGRAM, standalone_mode=False, obj=given_arguments))
    except click.exceptions.NoArgsIsHelpError as error:
        say(f"{error.message}\n", sys.stderr)
    except click.UsageError as error:
        text, program = _usage(error), error.ctx.command_path if error.ctx else _PROGRAM
        end = "" if text.endswith("?") else "."
        say(f"error: {printable(text, kept='')}{end} See {program} --help.\n", sys.stderr)
    except click.Abort:  # Ctrl-C before the command began
        return _STOPPED
    except OSError as error:  # of the terminal, or of the file in its place
        say(f"error: the output cannot be written: {error.strerror}\n", sys.stderr)
        return _FAILED
    return _WRONG


def _usage(error: click.UsageError) -> str:
    """Return in a few words what is wrong with the arguments."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        near = flag_meant(error.ctx.command, error.option_name)
        return f"there is no option {error.option_name}{f': did you mean {near}?' if near else ''}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{error.param.metavar} is missing"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[-1]}: {error.message.rstrip('.')}"
    text = error.format_message().rstrip(".").replace('"', "'")
    return text[0].lower() + text[1:]


class _Group(click.Group):
    """Commands in the order in which they are declared."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    _PROGRAM,
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Every option can also be set in the environment: --memory-budget as "
    f"{_VARIABLES}_MEMORY_BUDGET.",
)
@click.version_option(__version__, message=f"{_PROGRAM} %(version)s")
def cli() -> None:
    """Export single-cell atlases larger than memory to static files for the browser."""


def _command(
    name: str, *params: click.Parameter, examples: str
) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function that is called with its context and its parameters."""
    listed = "\n".join(f"{_PROGRAM} {name} {each.strip()}" for each in examples.split("\n"))
    how: Any = {
        "cls": GuardedCommand,
        "params": list(params),
        "epilog": listed,
        "context_settings": {"auto_envvar_prefix": _VARIABLES},  # for all commands the same
    }

    def make(function: Callable[..., int]) -> click.Command:
        command: click.Command = cli.command(name, **how)(click.pass_context(function))
        return command

    return make


@_command(
    "export",
    Argument("source", _SOURCE),
    Argument("target", "folder or URL to write to, such as s3://bucket/atlas"),
    *settings_options(),
    *output_options("result"),
    examples="""atlas.h5ad atlas_export
    atlas.h5ad s3://bucket/atlas --dataset-name "My atlas" --resume
    atlas.zarr markers --genes CD3D,MS4A1 --obs-keys cell_type,donor
    counts.h5ad atlas_export --normalize log1p-cp10k --n-workers 8""",
)
def _export(ctx: click.Context, source: str, target: str, **options: Any) -> int:
    """Export a data set."""
    with importing():
        from cellucid_dask.api import export  # noqa: PLC0415  --help need not wait for it
        from cellucid_dask.runtime.memory import limit_malloc_cache  # noqa: PLC0415
    limit_malloc_cache()
    with _scheduler(options):
        result = export(source, target, **_settings(ctx))
    _print(ctx, result, result.to_dict())
    if result.embeddings:
        _print(ctx, f"View it: {_PROGRAM} view {shlex.quote(result.target)}")
    return _DONE


@_command(
    "plan",
    Argument("source", _SOURCE),
    Argument("target", "folder or URL to check", "[TARGET]", required=False),
    *settings_options(),
    *output_options("plan"),
    examples="""atlas.h5ad
    atlas.h5ad s3://bucket/atlas --memory-budget 2GiB --json""",
)
def _plan(ctx: click.Context, source: str, target: str | None, **options: Any) -> int:
    """Show how an export would run, without writing anything."""
    from cellucid_dask.api import plan  # noqa: PLC0415

    with _scheduler(options):
        planned = plan(source, target, **_settings(ctx))
    _print(ctx, planned, planned.to_dict())
    return _DONE


@_command(
    "verify",
    Argument("target", _EXPORT),
    Option("--source", metavar="SOURCE", text="source of the export, to compare it with"),
    Option(
        "--genes",
        type=count_or_names,
        metavar="N|all|A,B",
        text="number of genes to read and compare (default: read all, compare 100)",
    ),
    settings_option("layer", "layer of the source (default as exported)"),
    *workers_options(),
    settings_option("memory_budget", "memory limit of the comparison, such as 512MiB"),
    settings_option("timeout"),
    settings_option("storage_options", "of the export"),
    settings_option("source_storage_options"),
    settings_option("allow_links"),
    settings_option("progress"),
    *output_options("report"),
    examples="""atlas_export
    atlas_export --source atlas.h5ad --genes all
    https://data.example.org/atlas --json""",
)
def _verify(ctx: click.Context, target: str, source: str | None, genes: Any, **options: Any) -> int:
    """Check an export, and optionally compare it with its source."""
    from cellucid_dask.read.verify import verify  # noqa: PLC0415

    with _scheduler(options):
        report = verify(target, source, genes=genes, **_settings(ctx))
    _print(ctx, report, report.to_dict())
    return _DONE if report.ok else _FAILED


@_command(
    "demo",
    Argument("folder", "folder to create", "[DIR]", default="cellucid-demo"),
    *output_options(),
    examples="",
)
def _demo(ctx: click.Context, folder: str, **_: Any) -> int:
    """Create, export and verify a small data set."""
    from cellucid_dask.cli.demo import demo  # noqa: PLC0415
    from cellucid_dask.store.location import Location  # noqa: PLC0415

    where = Location.of(folder)
    if not where.is_local:
        raise RequestError(f"{where} is not a local folder, which the demo needs.")
    _print(ctx, demo(Path(where.url)))
    return _DONE


@_command(
    "catalog",
    Argument("root", "folder or URL whose subfolders are exports"),
    Option("--default", metavar="ID", text="ID of the data set to show first"),
    settings_option("page", "do not write the viewer page"),
    settings_option("storage_options", "of the root"),
    *output_options("catalog"),
    examples="""exports
    s3://bucket/exports --default pbmc""",
)
def _catalog(ctx: click.Context, root: str, default: str | None, **_: Any) -> int:
    """Write a page and a list (datasets.json) of the exports in ROOT."""
    from cellucid_dask.read.catalog import catalog  # noqa: PLC0415

    listed = catalog(root, default=default, **given(ctx))
    _print(ctx, "\n".join(f"{each['id']}: {each['path']}" for each in listed["datasets"]), listed)
    return _DONE


@_command(
    "view",
    Argument("target", _SHOWN),
    Option(
        "--port",
        type=port_number,
        default=0,
        metavar="N",
        text="port to listen on (default any free port)",
    ),
    Option("--no-browser", is_flag=True, text="print the address only"),
    settings_option("storage_options", "of the target"),
    *output_options(),
    examples="""atlas_export
    s3://bucket/atlas --port 8765 --no-browser""",
)
def _view(ctx: click.Context, target: str, port: int, no_browser: bool, **_: Any) -> int:
    """Open an export in the browser."""
    import webbrowser  # noqa: PLC0415  slow to import

    from cellucid_dask.read.serve import Server  # noqa: PLC0415
    from cellucid_dask.store.target import Target  # noqa: PLC0415

    shown = Target.of(target, given(ctx).get("storage_options", {}))
    server = Server(shown, port)
    say(f"{printable(shown)} is shown at {server.url}\nCtrl-C stops.\n", sys.stdout)
    if not no_browser:
        webbrowser.open(server.url)
    with suppress(KeyboardInterrupt):
        server.run()
    server.close()
    return _DONE


@_command(
    "page",
    Argument("target", _SHOWN),
    settings_option("storage_options", "of the target"),
    *output_options(),
    examples="atlas_export",
)
def _page(ctx: click.Context, target: str, **_: Any) -> int:
    """Add the viewer page to an export, or update it."""
    from cellucid_dask.read.page import add_page  # noqa: PLC0415

    url = add_page(target, **given(ctx))
    _print(ctx, f"Wrote the page of {url}\nView it: {_PROGRAM} view {shlex.quote(url)}")
    return _DONE


def _settings(ctx: click.Context) -> dict[str, Any]:
    """Return the settings of an export; ``--quiet`` shows no progress."""
    quiet = {"progress": False} if ctx.params["quiet"] else {}
    return {**quiet, **given(ctx)}


def _print(ctx: click.Context, result: object, as_json: object = None) -> None:
    """Print a result, or its JSON form if that was asked for."""
    if ctx.params.get("json"):
        if as_json is not None:
            say(f"{json.dumps(as_json)}\n", sys.stdout)
    elif not ctx.params["quiet"]:
        say(f"{printable(result)}\n", sys.stdout)


def _scheduler(options: dict[str, Any]) -> Any:
    from cellucid_dask.runtime import cluster  # noqa: PLC0415

    if options["scheduler"]:
        return cluster.closing(cluster.connect(options["scheduler"]))
    if options["n_workers"]:
        return cluster.closing(cluster.start(options["n_workers"]))
    return nullcontext()
