"""One run a target: leases of other runs, living and dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import cellucid_dask
from cellucid_dask.store.owner import this_process
from cellucid_dask.store.target import Target
from tests.export.crashes import export, make
from tests.helpers import tree_bytes
from tests.viewer_reader import check


def lease(target: Path, **owner: Any) -> Path:
    path = target / ".cellucid-dask" / "lease.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"token": "t", "host": "elsewhere", "pid": 1, "started": 1, **owner})
    )
    return path


def test_second_run_is_refused(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    path = lease(target, **this_process())
    with pytest.raises(cellucid_dask.RequestError, match=f"process {os.getpid()} on"):
        export(csr, target, force=True)
    assert [path] == [each for each in target.rglob("*") if each.is_file()]


def test_dead_lease_is_taken(csr: Path, tmp_path: Path) -> None:
    path = lease(tmp_path / "out", **{**this_process(), "started": 0})
    export(csr, tmp_path / "out")
    check(tmp_path / "out")
    assert not path.exists()


def test_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path, target = tmp_path / "a.h5ad", tmp_path / "out"
    make("csr", n_cells=60_000, n_genes=300).write_h5ad(path)
    command = [sys.executable, "-m", "cellucid_dask", "export", str(path), str(target)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (target / ".cellucid-dask" / "run.json").exists():
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    try:
        for option in ("force", "resume"):
            with pytest.raises(cellucid_dask.RequestError, match="by another run"):
                export(path, target, **{option: True})
    finally:
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    check(target)


def test_run_that_lost_its_target_does_not_publish(
    csr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Target.put

    def steal(self: Target, files: dict[str, bytes]) -> None:
        held = tmp_path / "out" / ".cellucid-dask" / "lease.json"
        held.write_text(json.dumps({**json.loads(held.read_text()), "token": "another"}))
        put(self, files)

    monkeypatch.setattr(Target, "put", steal)
    with pytest.raises(cellucid_dask.ExportError, match="taken"):
        export(csr, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_complete_export_of_a_run_that_was_killed_at_the_very_end(
    csr: Path, tmp_path: Path
) -> None:
    export(csr, tmp_path / "out")
    whole = tree_bytes(tmp_path / "out")
    record = lease(tmp_path / "out", **{**this_process(), "started": 0})
    (record.parent / "run-t").mkdir()
    assert export(csr, tmp_path / "out", resume=True).was_complete
    assert tree_bytes(tmp_path / "out") == whole
    assert not record.parent.exists()
