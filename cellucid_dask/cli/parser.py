"""What commands take: arguments and options; those of an export are made from `Settings`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from cellucid_dask.errors import FLAGS
from cellucid_dask.request.other_names import meant_by
from cellucid_dask.request.settings import SECTIONS, Settings

_OPTIONS = {each.name: each for each in fields(Settings)}
_NOT_GIVEN = (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


class Argument(click.Argument):
    """An argument that ``--help`` describes."""

    section = "arguments"

    def __init__(self, name: str, text: str, metavar: str | None = None, **how: Any) -> None:
        how = {"type": click.Path()} | how  # completed as a path, and may be a URL
        super().__init__([name], metavar=metavar or name.upper(), **how)
        self.text = text

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:  # noqa: ARG002
        """Return its line of ``--help``."""
        return str(self.metavar), self.text


class Option(click.Option):
    """An option that is known by its section, and by the options that it excludes.

    Parameters
    ----------
    flags
        As on the command line, with a short form or not, and the name for Python.
    text
        For ``--help``.
    section
        Of ``--help``.
    either
        A word shared by options that exclude each other.
    setting
        The attribute of `Settings`, if it is one.
    """

    def __init__(
        self,
        *flags: str,
        text: str,
        section: str = SECTIONS[-1],
        either: str | None = None,
        setting: str | None = None,
        **how: Any,
    ) -> None:
        super().__init__(flags, help=text, **how)
        self.section, self.either, self.setting = section, either, setting

    @property
    def flag(self) -> str:
        """How it is written in full."""
        return self.opts[-1]


class Command(click.Command):
    """A command whose ``--help`` has sections, and whose options may exclude each other."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                sections.setdefault(getattr(param, "section", SECTIONS[-1]), []).append(record)
        for section, records in sections.items():
            with formatter.section(section.capitalize()):
                formatter.write_dl(records, col_max=26)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples as they are."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and refuse options that exclude each other.

        One that was written wins over one from the environment.
        """
        rest = super().parse_args(ctx, args)
        groups: dict[str, list[Option]] = {}
        for option in _given(ctx):
            if option.either:
                groups.setdefault(option.either, []).append(option)
        for group in groups.values():
            written = [each for each in group if _source(ctx, each) is ParameterSource.COMMANDLINE]
            if len(written or group) > 1:
                one, other = (written or group)[:2]
                raise click.UsageError(f"{other.flag} is not allowed with {one.flag}", ctx)
            for each in group:
                if each not in written and written:
                    ctx.set_parameter_source(str(each.name), ParameterSource.DEFAULT)
        return rest


def given(ctx: click.Context) -> dict[str, Any]:
    """Return the attributes of `Settings` that were given, by name."""
    found: dict[str, Any] = {}
    for option in _given(ctx):
        if option.setting is None:
            continue
        value = ctx.params[str(option.name)]
        if option.multiple:
            value = dict(value) if isinstance(option.type, _Pair) else list(value)
        found[option.setting] = not value if option.flag.startswith("--no-") else value
    return found


def _given(ctx: click.Context) -> Iterator[Option]:
    for param in ctx.command.params:
        if isinstance(param, Option) and _source(ctx, param) not in _NOT_GIVEN:
            yield param


def _source(ctx: click.Context, option: Option) -> ParameterSource | None:
    return ctx.get_parameter_source(str(option.name))


def flag_meant(command: click.Command, flag: str) -> str | None:
    """Return the flag that was probably meant by one that does not exist."""
    options = [each for each in reversed(command.params) if isinstance(each, Option)]
    names = {each.flag: each.flag for each in options}
    flags = names | {each.setting: each.flag for each in options if each.setting}
    name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
    return flags.get(meant_by(flag, names) or meant_by(name, flags) or "")


def settings_options() -> list[Option]:
    """Make an option of each attribute of `Settings`, in its order and by section."""
    options: list[Option] = []
    for section in SECTIONS:
        if section == SECTIONS[-1]:
            options += workers_options()
        for name, each in _OPTIONS.items():
            if each.metadata["section"] == section:
                options.append(settings_option(name))
            if each.metadata["section"] == section and name == "gene_identifiers":
                options.append(_genes_file())
    return options


def _genes_file() -> Option:
    how = {"section": SECTIONS[0], "either": "genes", "setting": "gene_identifiers"}
    return Option(
        "--genes-file", text="file of gene names, one per line", type=_lines, metavar="FILE", **how
    )  # fmt: skip


def settings_option(name: str, text: str | None = None) -> Option:
    """Make an option of an attribute of `Settings`, with another text if one is given."""
    option = _OPTIONS[name]
    known = option.metadata
    repeat, metavar = known.get("repeat"), known["metavar"]
    text = text or known["text"]
    how: dict[str, Any] = {}
    if isinstance(option.default, bool):
        how = {"is_flag": True}
    elif metavar == "K=V":
        text = f"fsspec option {text}, as text or JSON"
        how = {"type": _Pair(), "metavar": metavar, "multiple": True}
    else:
        how = {"type": _READ.get(metavar, str), "metavar": metavar, "multiple": bool(repeat)}
        if metavar.count("|") and metavar.islower():
            how["shell_complete"] = _choices(metavar)
        text += "" if option.default is None else f" (default {option.default})"
    return Option(
        FLAGS[name],
        text=f"{text}; can be repeated" if repeat else text,
        section=known["section"], either=known.get("either"), setting=name, **how,
    )  # fmt: skip


def workers_options() -> list[Option]:
    """Make the options that say where tasks run."""
    return [
        Option(
            "--scheduler", metavar="ADDRESS", text="address of a Dask scheduler", either="workers"
        ),
        Option(
            "--n-workers",
            type=_processes,
            metavar="N",
            text="start N local worker processes",
            either="workers",
        ),
    ]


def output_options(what: str | None = None) -> list[Option]:
    """Make the options that say what is printed; `what` is the result that has a JSON form."""
    options = [
        Option("-q", "--quiet", is_flag=True, text="print only errors, and results as JSON"),
        Option(
            "-v", "--verbose", count=True, text="print the log; -vv includes the logs of libraries"
        ),
        Option("--debug", is_flag=True, text="show tracebacks"),
    ]
    if what is not None:
        options.insert(0, Option("--json", is_flag=True, text=f"print the {what} as JSON"))
    return options


def count_or_names(text: str) -> int | str | list[str]:
    """Read a number of genes, ``all``, or names; a name that is a number needs a comma."""
    if text.isascii() and text.isdigit():
        return int(text)
    return text if text == "all" else _names(text)


def port_number(text: str | int) -> int:
    """Read the number of a port."""
    if not str(text).isdecimal() or int(text) > 65_535:
        raise click.BadParameter(f"{text} is not a port: give a number from 0 to 65535")
    return int(text)


def _processes(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise click.BadParameter(f"{text} is not a positive number of processes")
    return int(text)


class _Pair(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4
    """``KEY=VALUE``; a value is JSON (true, 10, {...}) if it can be, else text."""

    name = "pair"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        key, separator, text = value.partition("=")
        if not separator or not key:
            self.fail("write it as KEY=VALUE", param, ctx)
        with suppress(ValueError):
            text = json.loads(text)
        return key, text


def _choices(metavar: str) -> Callable[..., list[CompletionItem]]:
    def complete(_: Any, __: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(each) for each in metavar.split("|") if each.startswith(incomplete)]

    return complete


def _names(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


def _lines(path: str) -> list[str]:
    # one without a writer would be waited for; a shell's <(...) is not in a folder of files
    if Path(path).is_fifo() and not path.startswith("/dev/"):
        raise click.BadParameter(f"{path} is a named pipe: write the names into a file")
    try:
        # Excel and Notepad put a byte order mark before the first name
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):  # the last without a home directory
        raise click.BadParameter(f"the gene list {path} cannot be read") from None
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
