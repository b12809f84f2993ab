"""Steps run in a process of their own, with bounds of time and memory; and what was wrong."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NoReturn

from cellucid_dask import ExportError, RequestError
from tests.helpers import tree_bytes

MAX_RSS = 512 * 2**20
_MAX_ADDRESSES = 3 * 2**30  # so that what takes all memory ends before this machine does
KINDS = ("hang", "memory", "foreign bytes", "raw error", "control character", "leak")

Step = Callable[[], object]


@dataclass
class Outcome:
    """What became of the steps."""

    peak: int = 0
    seconds: float = 0.0
    said: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)


Case = tuple[str, Callable[[Path], Outcome]]


class CommandError(Exception):
    """A command did not end as commands do."""


def run(
    steps: Mapping[str, Step],
    outside: Path,
    work: Path,
    max_seconds: float = 20,
    max_rss: int = MAX_RSS,
) -> Outcome:
    """Run steps one after another in one fork of this process, and look at what they did.

    Parameters
    ----------
    steps
        By name. They may print, and raise what the package raises.
    outside
        A folder of which nothing may be opened.
    work
        A folder for the output.
    max_seconds, max_rss
        Bounds of each step, and of the memory of all.
    """
    reports, printed = work / "reports", work / "printed"
    reports.touch()
    began = last = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(steps, outside, reports, printed)
    outcome, n_reports = Outcome(), 0
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        lines = reports.read_text("utf-8").splitlines()
        if len(lines) > n_reports:
            n_reports, last = len(lines), time.monotonic()
        if ended:
            break
        if time.monotonic() - last > max_seconds:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            outcome.faults.append(("hang", list(steps)[min(n_reports, len(steps) - 1)]))
            break
        time.sleep(0.01)
    outcome.seconds, outcome.peak = time.monotonic() - began, usage.ru_maxrss * 1024
    for each in map(json.loads, reports.read_text("utf-8").splitlines()):
        outcome.said[each["step"]] = each["said"]
        outcome.faults += [(kind, f"{each['step']}: {what}") for kind, what in each["faults"]]
    if len(outcome.said) < len(steps) and not outcome.faults:
        outcome.faults.append(("raw error", f"the process died with {status}"))
    if outcome.peak > max_rss:
        outcome.faults.append(("memory", f"{outcome.peak / 2**20:.0f} MiB"))
    return outcome


def _child(steps: Mapping[str, Step], outside: Path, reports: Path, printed: Path) -> NoReturn:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_ADDRESSES, _MAX_ADDRESSES))
    with printed.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogatepass", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stdout
    opened = _watch(outside)
    read = 0
    for name, step in steps.items():
        said, faults = _try(step)
        sys.stdout.flush()
        content = printed.read_bytes()[read:]
        read += len(content)
        text = content.decode("utf-8", "replace")
        if "--debug shows where" in text or "Traceback (most" in text:
            faults.append(("raw error", text[-300:]))
        if "Memory ran out" in text:
            faults.append(("memory", text[-300:]))
        odd = sorted({c for c in text + said if not _is_plain(c)})
        if odd:
            faults.append(("control character", repr("".join(odd))))
        faults += [("foreign bytes", path) for path in sorted(set(opened))]
        opened.clear()
        report = {"step": name, "said": text + said}
        with reports.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**report, "faults": faults}) + "\n")
    os._exit(0)


def _try(step: Step) -> tuple[str, list[tuple[str, str]]]:
    """Run a step; return what it said, and what was wrong with that."""
    try:
        step()
    except (RequestError, ExportError) as error:
        return str(error), []
    except SystemExit as error:
        return f"exit {error.code}", []
    except CommandError as error:
        return "", [("raw error", str(error))]
    except BaseException as error:  # noqa: BLE001
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {str(error)[:150]} at {where.filename}:{where.lineno}"
        return "", [("raw error", what)]
    return "", []


def _watch(outside: Path) -> list[str]:
    """Note every file of a folder that this process opens from now on, by whatever path."""
    opened: list[str] = []
    root = os.path.realpath(outside)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(f"{root}/"):
                opened.append(path)

    sys.addaudithook(note)
    return opened


def _is_plain(character: str) -> bool:
    return character.isprintable() or character in "\n\t"


def command(*arguments: str | Path) -> Step:
    """Return the step that runs a command, which must end as commands do."""

    def step() -> None:
        from cellucid_dask.cli.commands import main

        code = main([*map(str, arguments)])
        if code not in (0, 1, 2):
            raise CommandError(f"exit code {code}")

    return step


def main(
    families: Callable[[random.Random, Path, Path], Iterator[list[Case]]], count: int, about: str
) -> int:
    """Run cases of all families in turn, print what was wrong, and return whether something was.

    Parameters
    ----------
    families
        Given randomness, a folder for what cases share and one that no case may open a file of,
        yields the cases of each family: a name, and what runs it in a folder.
    count
        Number of cases.
    about
        What they are.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth")
    parser.add_argument("--only", metavar="TEXT", default="", help="in its name")
    parser.add_argument("--seed", type=int, default=16)
    options = parser.parse_args()
    for module in ("api", "cli.commands", "read.verify", "read.plot", "source.anndata_file"):
        import_module(f"cellucid_dask.{module}")  # not within the bounds of a case
    chance = random.Random(options.seed)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outside = folder / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"FOREIGN" * 1000)
        cases = [*islice(_in_turn(chance, families(chance, folder, outside)), count)]
        before = tree_bytes(outside)
        for case, look in cases[:: options.every]:
            if options.only not in case:
                continue
            work = folder / "work"
            work.mkdir()
            outcomes.append(outcome := look(work))
            if tree_bytes(outside) != before:
                outcome.faults.append(("foreign bytes", "a file outside was changed"))
            for kind, what in outcome.faults:
                print(f"{kind}: {case}: {what}", flush=True)
            shutil.rmtree(work)
    print(table(outcomes))
    return any(each.faults for each in outcomes)


def _in_turn(chance: random.Random, families: Iterable[list[Case]]) -> Iterator[Case]:
    turns = []
    for family in families:
        chance.shuffle(family)
        turns.append(family)
    return (case for row in zip_longest(*turns) for case in row if case is not None)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the number of cases with a fault, by kind."""
    found = {
        kind: sum(any(kind == each for each, _ in outcome.faults) for outcome in outcomes)
        for kind in KINDS
    }
    peak = max(each.peak for each in outcomes) / 2**20
    slowest = max(each.seconds for each in outcomes)
    lines = [f"{len(outcomes)} cases, at most {peak:.0f} MiB and {slowest:.1f} s each"]
    return "\n".join([*lines, *(f"{kind:18} {number}" for kind, number in found.items())])
