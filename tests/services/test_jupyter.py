"""A notebook: plan, export with progress, result; and an interrupt of its kernel."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from tests.helpers import small_anndata, write_h5ad
from tests.viewer_reader import check

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]


def notebook(*cells: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def runner(book: Any, folder: Path) -> Any:
    return nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )  # fmt: skip


def output(cell: Any, kind: str) -> list[str]:
    return [each.data[kind] for each in cell.outputs if kind in each.get("data", {})]


@pytest.mark.parametrize("client", [None, "distributed"])
def test_plan_and_export(small_h5ad: Path, tmp_path: Path, client: str | None) -> None:
    start = {
        None: "client = None",
        "distributed": "from distributed import Client, LocalCluster\n"
        "client = Client(LocalCluster(n_workers=1, processes=False, dashboard_address=':0'))",
    }[client]
    book = notebook(
        f"import warnings; warnings.simplefilter('ignore')\nimport cellucid_dask as cd\n{start}",
        f"print(cd.plan({str(small_h5ad)!r}, 'out'))",
        f"result = cd.export({str(small_h5ad)!r}, 'out')",
        "print(result)\nif client: client.shutdown()",
    )
    runner(book, tmp_path).execute()
    _, plan, export, result = book.cells
    assert "40 cells x 12 genes, 12 exported" in plan.outputs[0].text
    (bar,) = output(export, "text/html")
    assert re.match(
        r'<progress max="1" value="1.0000"[^>]*></progress> exporting: 12 of 12 genes, ', bar
    )
    (text,) = output(export, "text/plain")
    assert text.startswith("exporting: 12 of 12 genes, ")
    assert not [each for each in export.outputs if each.get("name") == "stderr"]
    assert "40 cells x 12 genes in " in result.outputs[0].text
    assert len(check(tmp_path / "out").genes) == 12


@pytest.mark.parametrize("client", [None, "distributed"])
def test_interrupted_kernel(tmp_path: Path, client: str | None) -> None:
    """The kernel is interrupted in the middle, stays alive, and resumes."""
    random = np.random.default_rng(2)
    matrix = sparse.random(60_000, 300, 0.3, format="csr", dtype=np.float32, rng=random)
    source = write_h5ad(small_anndata(matrix, extras=False), tmp_path / "cells.h5ad")
    (tmp_path / "scratch").mkdir()
    options = "scratch='scratch', memory_budget='64MiB', created_at='2026-01-01T00:00:00Z'"
    start = {
        None: "client = None",
        "distributed": "from distributed import Client, LocalCluster\n"
        "client = Client(LocalCluster(n_workers=2, threads_per_worker=1, processes=False, "
        "dashboard_address=':0'))",
    }[client]
    book = notebook(
        f"import os, warnings; warnings.simplefilter('ignore')\n{start}\n"
        "import cellucid_dask as cd\nprint(os.getpid(), file=open('pid', 'w'), flush=True)\n"
        "from cellucid_dask.store.target import Target\n"
        "import time; put = Target.put\n"
        "def slowly(self, files):\n"
        "    time.sleep(0.3); put(self, files)\n"
        "Target.put = slowly",
        f"try:\n    cd.export({str(source)!r}, 'out', {options})\n"
        "except KeyboardInterrupt:\n    print('interrupted')",
        "print(os.path.exists('out/dataset_identity.json'), os.listdir('scratch'))",
        f"Target.put = put\nprint(cd.export({str(source)!r}, 'out', resume=True, {options}))\n"
        "if client: client.shutdown()",
    )
    target = tmp_path / "out"

    def interrupt() -> None:
        until = time.monotonic() + 100
        while not list(target.glob("var/*")):
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    runner(book, tmp_path).execute()
    thread.join()
    _, export, after, resumed = book.cells
    assert "interrupted" in "".join(each.get("text", "") for each in export.outputs)
    assert after.outputs[0].text == "False []\n"
    assert "60,000 cells x 300 genes" in resumed.outputs[-1].text
    assert len(check(target).genes) == 300
