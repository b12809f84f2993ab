"""Whatever waits for Dask ends, in plain words, and the export goes on to the same bytes.

The table of all faults is printed by ``python -m tests.services.clusters.faults``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers import Tree
from tests.services.clusters.faults import FAULTS, make, world

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tree]:
    return make(tmp_path_factory.mktemp("source"))


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("both workers are frozen", 1, r"^error: Dask worker .* not answered for 5 seconds: .*"),
        ("the scheduler is frozen", 1, r"^error: The Dask scheduler at .* not answered for 5 sec"),
        ("a task hangs", 1, r"^error: A task on Dask worker .* has not moved for 5 seconds: .*"),
        ("Ctrl-C beside frozen workers", 130, "^stopped"),
        ("a task computes for longer than the bound", 0, ""),
    ],
)
def test_ends(source: tuple[Path, Tree], tmp_path: Path, fault: str, code: int, words: str) -> None:
    with world(tmp_path, *source, bound=5) as stage:
        outcome = FAULTS[fault](stage)
    assert outcome.code == code, outcome.told
    assert not outcome.is_raw, outcome.told
    assert outcome.whole == (code == 0)
    assert outcome.resumed
    if code:
        assert re.search(words, outcome.said), outcome.told
        assert "resume" in outcome.said
    assert outcome.seconds < 60
