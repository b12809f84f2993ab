"""A catalog lists the exports under one root."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import pytest

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError
from cellucid_dask.cli.commands import main
from tests.helpers import SETTINGS, run_command, small_anndata, write_zarr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of two exports, and of things that are none."""
    folder = tmp_path / "atlases"
    for name, cells, title in (("lung", 40, "Łung"), ("b r", 30, None)):
        adata = small_anndata(n_cells=cells)
        cellucid_dask.export(adata, folder / name, dataset_name=title)
    (folder / "unfinished" / "var").mkdir(parents=True)
    (folder / "unfinished" / "obs_manifest.json").write_text("{}")
    (folder / "notes.txt").write_text("none")
    return folder


def written(root: Path) -> Any:
    return json.loads((root / "datasets.json").read_text("utf-8"))


def test_catalog(root: Path) -> None:
    found = cellucid_dask.catalog(root)

    assert found == written(root)
    assert found == {
        "version": 1,
        "default": "b r",
        "datasets": [
            {"id": "b r", "path": "b r/", "name": "b r", "n_cells": 30, "n_genes": 12},
            {"id": "ung", "path": "lung/", "name": "Łung", "n_cells": 40, "n_genes": 12},
        ],
    }
    assert sorted(each.name for each in root.iterdir()) == [
        "_page", "b r", "datasets.json", "index.html", "lung", "notes.txt", "unfinished",
    ]  # fmt: skip


def test_exports_of_both_formats(root: Path) -> None:
    adata, zarr = small_anndata(n_cells=50), {"format": "cellucid-zarr", "page": False}
    cellucid_dask.export(adata, root / "heart", dataset_name="Heärt", **zarr)
    bare = ad.AnnData(obs=adata.obs, obsm=dict(adata.obsm))
    cellucid_dask.export(bare, root / "no genes", dataset_id="none", **zarr)
    write_zarr(adata, root / "other.zarr", version=2)  # no export: left out without a word
    found = {each["path"]: each for each in cellucid_dask.catalog(root)["datasets"]}
    assert list(found) == ["b r/", "heart/", "lung/", "no genes/"]
    assert found["heart/"] == {
        "id": "He_rt", "path": "heart/", "name": "Heärt", "n_cells": 50, "n_genes": 12,
        "format": "cellucid-zarr",
    }  # fmt: skip
    assert (found["no genes/"]["id"], found["no genes/"]["n_genes"]) == ("none", 0)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("uns/cellucid/id/0", b"no zlib"),
        ("uns/cellucid/name/0", zlib.compress(b"")),
        (".zmetadata", b"{}"),
        (".zmetadata", b'{"metadata": {"uns/cellucid/.zgroup": {}}}'),
        (".zmetadata", b"[1]"),
        ("uns/cellucid/id/0", None),
    ],
)
def test_a_damaged_store_is_skipped(root: Path, path: str, data: bytes | None) -> None:
    target = root / "heart"
    cellucid_dask.export(small_anndata(), target, format="cellucid-zarr", page=False)
    (target / path).unlink() if data is None else (target / path).write_bytes(data)
    with pytest.warns(ExportWarning, match="heart is skipped"):
        assert len(cellucid_dask.catalog(root)["datasets"]) == 2


def test_again_with_another_default(root: Path) -> None:
    cellucid_dask.catalog(root)
    cellucid_dask.catalog(str(root), default="ung")

    assert written(root)["default"] == "ung"


def test_an_unknown_default(root: Path) -> None:
    with pytest.raises(RequestError, match=r"'heart'.*b r, ung"):
        cellucid_dask.catalog(root, default="heart")

    assert not (root / "datasets.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "{}",
        '{"id": "x"}',
        '{"id": "x", "stats": {"n_cells": null, "n_genes": 1}}',
        '{"id": "", "stats": {"n_cells": 1, "n_genes": 1}}',
        '{"id": 3, "stats": {"n_cells": 1, "n_genes": 1}}',
        "\udcff",
    ],
)
def test_a_broken_identity_is_left_out(root: Path, text: str) -> None:
    identity = root / "lung" / "dataset_identity.json"
    identity.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.warns(ExportWarning, match="lung is skipped"):
        found = cellucid_dask.catalog(root)

    assert [each["id"] for each in found["datasets"]] == ["b r"]


def is_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


BAD: dict[str, Callable[[Path], object]] = {
    "leads out of the folder": lambda path: path.symlink_to("/dev/zero"),
    "named pipe": os.mkfifo,
    "directory": Path.mkdir,
    "it is larger than any": is_large,
    "is not JSON": lambda path: path.write_text("[" * 100_000),
    "is too deep": lambda path: path.write_text('{"a":' + "[" * 99 + "]" * 99 + "}"),
}


@pytest.mark.parametrize("why", BAD)
def test_one_bad_folder_does_not_stop_the_others(root: Path, why: str) -> None:
    identity = root / "lung" / "dataset_identity.json"
    identity.unlink()
    BAD[why](identity)
    done = run_command("catalog", root)
    assert (done.returncode, done.stdout) == (0, "b r: b r/\n")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert why in warnings[0].replace("Is a directory", "directory")
    assert warnings[0].endswith("lung is skipped.")


@pytest.mark.parametrize("place", ["", "nowhere", "lung"])
def test_nothing_to_list(root: Path, place: str) -> None:
    folder = root / place if place else root.parent
    says = "does not exist" if place == "nowhere" else "contains no export"
    with pytest.raises(RequestError, match=says):
        cellucid_dask.catalog(folder)

    assert not (folder / "datasets.json").exists()


def test_one_id_twice(root: Path) -> None:
    cellucid_dask.export(small_anndata(), root / "more", dataset_id="ung")
    with pytest.raises(RequestError, match="lung and more both have the id 'ung'"):
        cellucid_dask.catalog(root)

    assert not (root / "datasets.json").exists()


def test_in_a_store() -> None:
    for name in ("two", "one"):
        cellucid_dask.export(small_anndata(), f"memory://catalog/{name}")
    cellucid_dask.catalog("memory://catalog", storage_options={})

    found = json.loads(fsspec.filesystem("memory").cat_file("/catalog/datasets.json"))
    assert [each["path"] for each in found["datasets"]] == ["one/", "two/"]


def test_by_the_command_line(root: Path) -> None:
    refused = run_command("catalog", root / "nowhere")
    assert refused.returncode == 2
    assert "nowhere does not exist" in refused.stderr
    assert "Traceback" not in refused.stderr
    (root / "unfinished" / "dataset_identity.json").write_text("{")
    done = run_command("catalog", root, "--default", "ung", "--storage-option", "auto_mkdir=1")
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "ung: lung/" in done.stdout
    assert written(root)["default"] == "ung"


def test_command_answers_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    adata = small_anndata()
    cellucid_dask.export(adata, tmp_path / "all/one", **SETTINGS)
    assert main(["catalog", str(tmp_path / "all"), "--json", "--no-page"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told == json.loads((tmp_path / "all/datasets.json").read_text())
    assert [each["path"] for each in told["datasets"]] == ["one/"]
