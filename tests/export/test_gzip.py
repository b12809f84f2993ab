"""What the package compresses, other programs inflate."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellucid_dask
from tests.helpers import INFLATE, small_anndata
from tests.viewer_reader import GZIP_HEADER, check, gunzip

N_CELLS = 5_000
DENSITIES = (0.0, 0.001, 0.01, 0.06, 0.2, 0.25, 0.5, 0.9, 1.0)


def matrix_of_many_densities() -> Any:
    """Make genes sparse and dense, of few values and of many, and a constant one."""
    random = np.random.default_rng(3)
    shape = (N_CELLS, len(DENSITIES))
    present = random.random(shape) < np.array(DENSITIES)
    counts = np.where(present, random.poisson(1, shape) + 1, 0)
    smooth = np.where(present, random.normal(size=shape), 0)
    return np.hstack([counts, smooth, np.full((N_CELLS, 1), 3.5)]).astype(np.float32)


@pytest.fixture(scope="module", params=[(8, 6), (16, 6), (None, 6), (8, 1), (8, 9)])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    quantization, level = request.param
    target = tmp_path_factory.mktemp("gzip") / "export"
    cellucid_dask.export(
        small_anndata(matrix_of_many_densities()),
        target,
        var_quantization=quantization,
        compression=level,
    )
    return target


def members(export: Path) -> list[Path]:
    files = sorted(export.rglob("*.gz"))
    assert len(files) > len(DENSITIES)
    return files


def test_header_has_no_time_and_no_name(export: Path) -> None:
    assert {file.read_bytes()[:8] for file in members(export)} == {GZIP_HEADER}
    check(export)


def test_python_inflates(export: Path) -> None:
    for file in members(export):
        data = file.read_bytes()
        assert gzip.decompress(data) == gunzip(data)


@pytest.mark.skipif(shutil.which("gzip") is None, reason="there is no gzip program")
def test_gzip_program_inflates(export: Path) -> None:
    tested = subprocess.run(
        ["gzip", "-t", *members(export)], check=False, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stderr
    assert not tested.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node program")
def test_browser_stream_inflates(export: Path) -> None:
    files = members(export)
    run = subprocess.run(
        ["node", "-e", INFLATE],
        input=json.dumps([str(file) for file in files]),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [sha256(gunzip(file.read_bytes())).hexdigest() for file in files]
    assert json.loads(run.stdout) == expected
