"""What changed in the target while the export ran is found before the export is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import cellucid_dask
from cellucid_dask import ExportError, api
from cellucid_dask.output.compact_v1 import documents, output
from cellucid_dask.store import target as target_module
from tests.helpers import SETTINGS, small_anndata, tree_bytes
from tests.viewer_reader import check

GENE, COLUMN = "var/gene3.values.u8.gz", "obs/score.values.u8.gz"


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "overwritten": lambda file: file.write_bytes(b"other bytes of another run"),
    "one bit": _flip,
}


def damaging(monkeypatch: pytest.MonkeyPatch, damage: Callable[[], object]) -> None:
    """Do damage while the export runs: when its files are there, and no document is."""
    encode = documents.encode_documents

    def first(*arguments: Any, **more: Any) -> Any:
        damage()
        return encode(*arguments, **more)

    monkeypatch.setattr(output, "encode_documents", first)


@pytest.mark.parametrize("name", [GENE, COLUMN, "points_2d.bin.gz"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    target, adata = tmp_path / "export", small_anndata()
    damaging(monkeypatch, lambda: DAMAGE[kind](target / name))
    with pytest.raises(ExportError, match=f"changed or went missing.*{name}.*resume"):
        cellucid_dask.export(adata, target, **SETTINGS)
    assert not (target / "dataset_identity.json").exists()
    monkeypatch.undo()

    cellucid_dask.export(adata, target, **SETTINGS, resume=True)
    check(target)
    cellucid_dask.export(adata, tmp_path / "other", **SETTINGS)
    assert tree_bytes(target) == tree_bytes(tmp_path / "other")


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_rots_before_the_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    target, adata = tmp_path / "export", small_anndata()

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "publish", stop)
    with pytest.raises(KeyboardInterrupt):
        cellucid_dask.export(adata, target, **SETTINGS)
    monkeypatch.undo()
    DAMAGE[kind](target / GENE)

    cellucid_dask.export(adata, target, **SETTINGS, resume=True)
    cellucid_dask.export(adata, tmp_path / "other", **SETTINGS)
    assert tree_bytes(target) == tree_bytes(tmp_path / "other")


def test_an_object_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    url, fs = "memory://last-look/export", fsspec.filesystem("memory")
    damaging(monkeypatch, lambda: fs.pipe_file(f"/last-look/export/{GENE}", b"cut"))
    with pytest.raises(ExportError, match=GENE):
        cellucid_dask.export(small_anndata(), url, **SETTINGS)
    assert not fs.exists("/last-look/export/dataset_identity.json")


def test_the_disk_writes_files_before_documents_and_all_before_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, ...]] = []

    def watch(folder: Path) -> None:
        names = (GENE, "var_manifest.json", "dataset_identity.json")
        seen.append(tuple((folder / name).exists() for name in names))
        if len(seen) == 1:
            raise OSError("a disk that is full shows it when it must")

    monkeypatch.setattr(target_module, "flush_file_system", watch)
    cellucid_dask.export(small_anndata(), tmp_path / "export", **SETTINGS)
    assert seen == [(True, False, False), (True, True, False), (True, True, True)]
