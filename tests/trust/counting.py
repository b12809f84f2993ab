"""Cases that are tried, what became of them, and a table of both."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """One that was tried; `fault` says what was wrong, and is empty if nothing was."""

    kind: str
    outcome: str
    fault: str = ""


def table(cases: Sequence[Case]) -> str:
    """Return a Markdown table: how often each came out as it did, and how many faults there are."""
    counts = Counter((each.kind, each.outcome) for each in cases)
    faults = Counter((each.kind, each.outcome) for each in cases if each.fault)
    rows = [("what", "outcome", "cases", "faults"), ("---", "---", "---:", "---:")]
    rows += [(*key, str(counts[key]), str(faults[key])) for key in counts]
    rows.append(("all", "", str(len(cases)), str(faults.total())))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(count: Callable[[int, Path], Iterable[Case]], n_cases: int) -> None:
    """Count as many cases as the command line says, print the table; exit with 1 if one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("n_cases", type=int, nargs="?", default=n_cases)
    wanted = parser.parse_args().n_cases
    with tempfile.TemporaryDirectory(prefix="count-") as folder:
        cases = list(_noted(count(wanted, Path(folder)), wanted))
    print(table(cases))
    sys.exit(any(each.fault for each in cases))


def _noted(cases: Iterable[Case], wanted: int) -> Iterator[Case]:
    for number, case in enumerate(cases, start=1):
        if case.fault:
            print(f"{case.kind}, {case.outcome}: {case.fault}", file=sys.stderr)
        elif number % 10 == 0:
            print(f"{number} of {wanted}", file=sys.stderr)
        yield case
