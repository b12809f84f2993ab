"""Runs that are paused for longer than their lease is valid, and go on when another has finished.

``python -m tests.trust.pauses 50`` pauses as many, at random moments of their writing, in turns in
a local folder and in S3, by obstore and by s3fs. A second run of other data, on a host of another
name, waits until the lease is no longer valid, replaces what is there, and ends; then the first
goes on. A fault is any file of the first in the export of the second, anything that either leaves,
and an end of the first in other words than that its target is another's. Needs root, for the name
of the host.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from tests.export.crashes import make
from tests.helpers import Tree
from tests.trust.counting import Case, main
from tests.trust.runs import Place, Run, difference, places, usual

KINDS = ("local", "S3", "S3 by s3fs")
_VALID_FOR = 2.0
_PLAIN = (
    "Another run has taken",
    "already contains an export",
    "is being written to",
    "interrupted",
)


def pauses(n_cases: int, folder: Path, kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    first, second, dice = folder / "first.h5ad", folder / "second.h5ad", random.Random(2)
    make("csr", n_cells=6_000, n_genes=36).write_h5ad(first)
    make("csr", seed=1, n_cells=6_000, n_genes=36).write_h5ad(second)
    with places(folder) as new:
        lasted = {kind: usual(first, new[kind], f"first-{kind}")[0] for kind in kinds}
        whole = usual(second, new[kinds[0]], "second")[1]
        for number, kind in zip(range(n_cases), cycle(kinds), strict=False):
            moment = dice.uniform(0, lasted[kind])
            yield _pause(first, second, new[kind](str(number)), moment, whole)


def _pause(first: Path, second: Path, place: Place, moment: float, whole: Tree) -> Case:
    paused = Run(first, place, valid_for=_VALID_FOR)
    paused.wait_until_it_writes()
    time.sleep(moment)
    paused.send(signal.SIGSTOP)
    found = place.tree()
    outcome = (
        "published already" if "dataset_identity.json" in found
        else "paused while it wrote" if ".cellucid-dask/run.json" in found
        else "paused before"
    )  # fmt: skip
    after = Run(second, place, valid_for=_VALID_FOR, elsewhere=True, force=True).end()
    of_second = place.tree()
    paused.send(signal.SIGCONT)
    ended = paused.end()
    if after != "done":
        fault = f"the second run: {after}"
    elif ended != "done" and not any(words in ended for words in _PLAIN):
        fault = f"the first run: {ended}"
    elif ended == "done" and outcome == "paused while it wrote":
        fault = "the first run ends as if all were well"
    else:
        fault = difference(place.tree(), whole)
        if fault and difference(of_second, whole) == "":
            fault = f"a mixture: {fault}"
    return Case(place.name, outcome, fault)


if __name__ == "__main__":
    main(pauses, 50)
