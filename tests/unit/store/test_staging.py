from __future__ import annotations

from pathlib import Path

import pytest

from cellucid_dask.errors import ExportError
from cellucid_dask.store.staging import Staging


@pytest.mark.parametrize("max_memory", [1, 2**20])
def test_files_come_back_in_order(tmp_path: Path, max_memory: int) -> None:
    files = {"b": b"22", "a": b"1", "empty": b"", "c": b"333"}
    with Staging(str(tmp_path), max_memory) as staging:
        for name, data in files.items():
            staging.add(name, data)
        assert list(staging) == list(files.items())
        assert list(staging) == list(files.items())  # also a second time
    assert not list(tmp_path.iterdir())


def test_folder_that_is_gone(tmp_path: Path) -> None:
    with (
        Staging(str(tmp_path / "nowhere"), max_memory=1) as staging,
        pytest.raises(ExportError, match=r"nowhere cannot hold .*scratch"),
    ):
        staging.add("a", b"12")
