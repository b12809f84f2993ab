"""The workflows of the documentation, run by the programs they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anndata as ad
import pytest

from tests.helpers import ROOT, small_anndata, write_h5ad
from tests.viewer_reader import check


@pytest.mark.slow
def test_snakemake(tmp_path: Path) -> None:
    """It makes the export once, again if it is told to, and anew if the source changes."""
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("there is no snakemake")
    rule = re.search(r"```text\n(rule .*?)```", (ROOT / "docs/workflows.md").read_text(), re.DOTALL)
    assert rule
    (tmp_path / "Snakefile").write_text(rule[1])
    command = tmp_path / "bin/cellucid-dask"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cellucid_dask "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip

    def run(*options: str) -> str:
        done = subprocess.run(
            [snakemake, "-c", "2", *options], cwd=tmp_path, env=environment, check=False,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    source, target = tmp_path / "atlas.h5ad", tmp_path / "site/atlas"
    write_h5ad(small_anndata(), source)
    assert "40 cells x 12 genes" in run()
    check(target)
    assert "Nothing to be done" in run()
    assert "40 cells x 12 genes" in run("--forceall")
    changed: ad.AnnData = small_anndata(n_cells=50)
    write_h5ad(changed, source)
    run()
    assert check(target).n_cells == 50
