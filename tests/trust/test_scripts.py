"""Short versions of the scripts that count: none of their cases may have a fault."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "every"),
    [
        ("hostile_exports", 25),
        ("hostile_zarr_exports", 25),
        ("secret_leaks", 12),
        ("hostile_sources", 10),
    ],
)
def test_no_case_has_a_fault(script: str, every: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.trust.{script}", "--every", str(every)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " cases, at most " in done.stdout
