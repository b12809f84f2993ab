"""The path of one gene block is the one that CONTRIBUTING.md describes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

import dask

import cellucid_dask
from tests.helpers import small_anndata, write_h5ad

ROOT = Path(__file__).parents[2]
HOP = re.compile(r"^\d+\. .*?`([a-z_.]+\.(?:[A-Z]\w+\.)?[a-z_]+)`", re.MULTILINE)


def hops() -> list[str]:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("### One block of genes")[2]
    return HOP.findall(section.partition("## ")[0])


def test_the_hops_are_called_in_their_order(tmp_path: Path) -> None:
    listed = hops()
    assert 10 <= len(listed) <= 12
    source = write_h5ad(small_anndata(n_cells=20_000, n_genes=60, density=0.5), tmp_path / "a.h5ad")
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("cellucid_dask."):
            calls.append(f"{module.removeprefix('cellucid_dask.')}.{frame.f_code.co_qualname}")

    with dask.config.set(scheduler="synchronous"):
        sys.setprofile(note)
        try:
            result = cellucid_dask.export(
                source, tmp_path / "out", memory_budget="12MiB", progress=False
            )
        finally:
            sys.setprofile(None)
    assert result.scratch_bytes, "another route"
    at = -1
    for hop in listed:
        assert hop in calls[at + 1 :], f"{hop} is not called after {calls[at]}"
        at = calls.index(hop, at + 1)
