"""Sources that cannot be read and targets that cannot be written are refused; other files stay."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest

import cellucid_dask
from cellucid_dask import RequestError
from tests.export.refusing import refused
from tests.helpers import small_anndata, tree_bytes, write_zarr
from tests.viewer_reader import check

# Targets


def test_target_with_an_export(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target)
    before = tree_bytes(target)

    with pytest.raises(RequestError, match="force"):
        cellucid_dask.export(small_h5ad, target, gene_identifiers=["gene1"])
    assert tree_bytes(target) == before

    cellucid_dask.export(small_h5ad, target, gene_identifiers=["gene1"], force=True)
    assert check(target).genes == ["gene1"]


def test_forced_export_into_nothing(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target, force=True)
    check(target)


def test_refused_export_keeps_what_force_would_replace(small_h5ad: Path, target: Path) -> None:
    cellucid_dask.export(small_h5ad, target)
    before = tree_bytes(target)
    with pytest.raises(RequestError, match="nonsense"):
        cellucid_dask.export(small_h5ad, target, layer="nonsense", force=True)
    assert tree_bytes(target) == before


def test_strange_files_at_the_target_are_kept(small_h5ad: Path, target: Path) -> None:
    target.mkdir()
    (target / "thesis.docx").write_text("mine")
    try:
        cellucid_dask.export(small_h5ad, target, force=True)
    except RequestError:
        assert [file.name for file in target.iterdir()] == ["thesis.docx"]
    assert (target / "thesis.docx").read_text() == "mine"


def test_target_is_a_file(small_h5ad: Path, target: Path) -> None:
    target.write_text("mine")
    with pytest.raises(RequestError):
        cellucid_dask.export(small_h5ad, target)
    assert target.read_text() == "mine"


def test_target_is_the_source(small_h5ad: Path) -> None:
    before = small_h5ad.read_bytes()
    with pytest.raises(RequestError):
        cellucid_dask.export(small_h5ad, small_h5ad, force=True)
    assert small_h5ad.read_bytes() == before


@pytest.mark.parametrize("place", ["same", "below", "above", "memory", "linked"])
def test_target_and_source_in_each_other(tmp_path: Path, place: str) -> None:
    source = tmp_path / "folder/a.zarr"
    source.parent.mkdir()
    small_anndata().write_zarr(source)
    memory = fsspec.filesystem("memory")
    memory.put(str(source), f"/{tmp_path.name}/a.zarr", recursive=True)
    (tmp_path / "link").symlink_to(source)
    url = f"memory://{tmp_path.name}/a.zarr"
    given, target = {
        "same": (source, source),
        "below": (source, source / "export"),
        "above": (source, source.parent),
        "memory": (url, f"memory:///{tmp_path.name}/a.zarr/out/"),
        "linked": (source, tmp_path / "link/../a.zarr"),
    }[place]
    before = tree_bytes(tmp_path), sorted(memory.find(f"/{tmp_path.name}"))
    for call in (cellucid_dask.plan, cellucid_dask.export):
        with pytest.raises(RequestError, match="a folder of its own for the export"):
            call(given, target, force=True)
    assert (tree_bytes(tmp_path), sorted(memory.find(f"/{tmp_path.name}"))) == before


def test_colons_in_local_names(small_h5ad: Path, tmp_path: Path) -> None:
    source = small_h5ad.rename(small_h5ad.parent / "a::b.h5ad")
    cellucid_dask.export(source, tmp_path / "exp", page=False)
    before = tree_bytes(tmp_path / "exp")
    for _ in range(2):
        cellucid_dask.export(source, f"{tmp_path}/exp::v2", page=False, force=True)
    assert tree_bytes(tmp_path / "exp") == before
    assert check(tmp_path / "exp::v2").genes == check(tmp_path / "exp").genes


@pytest.mark.parametrize(
    "place", ["", "s3://", "s3:/b/x", "file:x", Path("s3://b/x"), "nowhere://b/x", "memory://a::b"]
)
def test_no_place(
    small_h5ad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree_bytes(tmp_path)
    for call in (
        lambda: cellucid_dask.export(small_h5ad, place),
        lambda: cellucid_dask.plan(small_h5ad, place),
        lambda: cellucid_dask.plan(place),
        lambda: cellucid_dask.export(small_h5ad, "out", scratch=place),
        lambda: cellucid_dask.verify(place),
        lambda: cellucid_dask.open_export(place),
        lambda: cellucid_dask.catalog(place),
    ):
        with pytest.raises(RequestError, match=r"empty|URL|store"):
            call()
    assert tree_bytes(tmp_path) == before
    assert not [path for path in tmp_path.iterdir() if path.name != small_h5ad.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(small_h5ad: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(RequestError, match="locked"):
        cellucid_dask.export(small_h5ad, folder / "export")


def test_target_in_no_known_store(small_h5ad: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        cellucid_dask.export(small_h5ad, "nowhere://bucket/export")


# Sources


def test_missing_file(tmp_path: Path, target: Path) -> None:
    refused(tmp_path / "none.h5ad", target, r"none\.h5ad")


@pytest.mark.parametrize("name", ["notes.h5ad", "notes.txt"])
def test_not_an_hdf5_file(tmp_path: Path, target: Path, name: str) -> None:
    (tmp_path / name).write_text("no AnnData here\n" * 100)
    refused(tmp_path / name, target, "notes")


def test_hdf5_file_without_anndata(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["measurements"] = np.arange(10)
    refused(tmp_path / "other.h5ad", target, "(?i)anndata")


def test_folder_without_anndata(tmp_path: Path, target: Path) -> None:
    (tmp_path / "folder.zarr").mkdir()
    refused(tmp_path / "folder.zarr", target, r"folder\.zarr")


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_truncated_file(small_h5ad: Path, target: Path, part: float) -> None:
    data = small_h5ad.read_bytes()
    small_h5ad.write_bytes(data[: int(len(data) * part)])
    refused(small_h5ad, target, r"small\.h5ad")


def test_empty_file(tmp_path: Path, target: Path) -> None:
    (tmp_path / "empty.h5ad").touch()
    refused(tmp_path / "empty.h5ad", target, r"empty\.h5ad")


def test_source_of_another_kind(target: Path) -> None:
    refused({"X": np.eye(3)}, target, "(?i)dict|anndata")


def test_zarr_that_brings_a_pickle(tmp_path: Path, target: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    store = tmp_path / "trap.zarr"
    write_zarr(small_anndata(), store, version=2)
    (store / ".zmetadata").unlink()
    names = store / "obs/cell_type/categories"
    layout = json.loads((names / ".zarray").read_text())
    layout |= {"dtype": "|O", "compressor": None}
    layout["filters"] = [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}]
    (names / ".zarray").write_text(json.dumps(layout))
    (names / "0").write_bytes(pickle.dumps([Trap()]))

    refused(store, target, "^obs/cell_type of trap.zarr cannot be read", obs_keys=["cell_type"])
    with pytest.warns(cellucid_dask.ExportWarning, match="^obs/cell_type .*skipped"):
        cellucid_dask.export(store, target)
    assert not (tmp_path / "sprung").exists()
