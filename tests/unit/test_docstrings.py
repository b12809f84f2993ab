"""The examples of the public calls are run, and give what they show."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

import cellucid_dask
from cellucid_dask.cli.demo import make_dataset

CALLS = [
    name
    for name in cellucid_dask.__all__
    if name.islower() and not name.startswith("_") and callable(getattr(cellucid_dask, name))
]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``atlas.h5ad`` and its export ``exports/atlas``."""
    folder = tmp_path_factory.mktemp("examples")
    make_dataset(300, 40).write_h5ad(folder / "atlas.h5ad")
    cellucid_dask.export(folder / "atlas.h5ad", folder / "exports/atlas", progress=False)
    return folder


def test_the_public_calls_are_known() -> None:
    assert set(CALLS) == {"catalog", "export", "open_export", "plan", "prepare", "verify"}


@pytest.mark.parametrize("name", CALLS)
def test_example(name: str, atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(atlas, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder().find(getattr(cellucid_dask, name), name)
    lines: list[str] = []

    result = doctest.DocTestRunner().run(example, out=lines.append)

    assert result.attempted
    assert not result.failed, "".join(lines)
