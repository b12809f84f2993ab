"""What a resumed run does again, what it keeps, and what it refuses to resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import fsspec
import numpy as np
import pytest

import cellucid_dask
from cellucid_dask.store.target import Writer
from tests.export.crashes import export, make, stopped
from tests.helpers import edit_json, tree_bytes, write_zarr
from tests.viewer_reader import check


def test_finished_genes_are_not_made_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = stopped(source, tmp_path / "out")
    done = {
        file
        for receipt in target.glob(".cellucid-dask/receipts/*")
        for file in json.loads(receipt.read_text())["files"]
    }
    assert 0 < len(done) < 60
    broken, lost, *_ = sorted(done)
    (target / broken).write_bytes((target / broken).read_bytes()[:-1])
    (target / lost).unlink()
    written: set[str] = set()
    put = Writer.put

    def note(self: Writer, files: Mapping[str, bytes]) -> None:
        written.update(name for name in files if name.startswith("var/"))
        put(self, files)

    monkeypatch.setattr(Writer, "put", note)
    result = export(source, target, resume=True)
    assert written & done == {broken, lost}
    assert len(written | done) == result.n_genes == 60
    check(target)


def test_resumes_with_other_means(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "whole")
    target = stopped(source, tmp_path / "out", memory_budget="4MiB")
    with dask.config.set(scheduler="processes", num_workers=2):
        export(source, target, resume=True, memory_budget="64MiB")
    assert tree_bytes(target) == tree_bytes(tmp_path / "whole")


def test_resumes_from_memory(tmp_path: Path) -> None:
    target = stopped(make("csr"), tmp_path / "out")
    with pytest.raises(cellucid_dask.RequestError, match="another source"):
        export(make("csr", seed=1), target, resume=True)
    assert export(make("csr"), target, resume=True).n_genes == 24
    check(target)


def test_only_the_same_export_is_resumed(csr: Path, tmp_path: Path) -> None:
    target = stopped(csr, tmp_path / "out")
    before = tree_bytes(target)
    with pytest.raises(cellucid_dask.RequestError, match="another var_quantization"):
        export(csr, target, resume=True, var_quantization=16)
    with pytest.raises(cellucid_dask.RequestError, match="resume"):
        export(csr, target)
    with pytest.raises(cellucid_dask.RequestError, match="either force"):
        export(csr, target, resume=True, force=True)
    os.utime(csr, (1, 1))
    with pytest.raises(cellucid_dask.RequestError, match="its file has changed"):
        export(csr, target, resume=True)
    assert tree_bytes(target) == before
    edit_json(target / ".cellucid-dask" / "run.json", lambda record: record.update(version="99"))
    with pytest.raises(cellucid_dask.RequestError, match="by cellucid-dask 99, but this is"):
        export(csr, target, resume=True)
    export(csr, target, force=True)
    check(target)


def test_the_record_holds_no_secrets(csr: Path, tmp_path: Path) -> None:
    target = stopped(csr, tmp_path / "out", storage_options={"secret": "hunter2"})
    left = b"".join(path.read_bytes() for path in target.glob(".cellucid-dask/**/*.json"))
    assert left
    assert b"hunter2" not in left
    assert str(csr).encode() not in left


def test_a_complete_export_is_resumed_without_work(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert not export(csr, target, resume=True).was_complete  # a batch script may always say it
    before, written = tree_bytes(target), written_at(target)
    adata = ad.read_h5ad(csr)
    for source in (csr, adata, write_zarr(adata, tmp_path / "a.zarr")):
        result = export(source, target, resume=True, created_at=None, memory_budget="64MiB")
        assert result.was_complete
        assert (result.n_cells, result.n_genes, result.n_objects) == (2000, 24, 0)
        assert "complete" in str(result)
    assert (tree_bytes(target), written_at(target)) == (before, written)


@pytest.mark.parametrize("form", ["compact_v1", "cellucid-zarr"])
@pytest.mark.parametrize(
    "left", [[], ["notes/"], ["receipts/", "notes/"], ["receipts/0.json", "notes/"]]
)
def test_what_a_run_left_that_was_killed_while_it_cleared_up(
    csr: Path, tmp_path: Path, form: Any, left: list[str]
) -> None:
    target = tmp_path / "out"
    export(csr, target, format=form)
    whole = tree_bytes(target)
    for name in left:
        path = target / ".cellucid-dask" / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("{}")
    export(csr, target, format=form, resume=True)
    assert tree_bytes(target) == whole
    assert not (target / ".cellucid-dask").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"var_quantization": 16}, "another var_quantization"),
        ({"compression": 1}, "another compression"),
        ({"dataset_name": "Other"}, "another dataset_name"),
        ({"source_url": "https://example.org"}, "another source"),
        ({"cell_ids": True}, "another cell_ids"),
        ({"normalize": "log1p-cp10k"}, "another normalize"),
        ({"gene_identifiers": ["3", "4"]}, "genes are others"),
        ({"centroid_outlier_quantile": 0.5}, "'kind' does not match the source"),
        ({"obs_keys": []}, "'kind' does not match the source"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_a_complete_export_of_another_request(
    csr: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    target = tmp_path / "out"
    export(csr, target)
    before = tree_bytes(target)
    with pytest.raises(cellucid_dask.RequestError, match=f"{words}.*nothing to resume.*force"):
        export(csr, target, resume=True, **options)
    assert tree_bytes(target) == before


def _changed(adata: ad.AnnData, part: str) -> ad.AnnData:
    match part:
        case "matrix":
            adata.X = adata.X * np.float32(3)
        case "points":
            adata.obsm["X_umap"][7] += 1
        case "column":
            adata.obs["batch"] = 1.0
        case "category":
            adata.obs["kind"] = ["b", *adata.obs["kind"].astype(str)[:-1]]
        case "cells":
            adata = adata[:1000].copy()
        case "genes":
            adata.var_names = [f"g{name}" for name in adata.var_names]
    return adata


@pytest.mark.parametrize("part", ["matrix", "points", "column", "category", "cells", "genes"])
def test_a_complete_export_of_other_data(csr: Path, tmp_path: Path, part: str) -> None:
    target = tmp_path / "out"
    export(csr, target)
    before = tree_bytes(target)
    with pytest.raises(cellucid_dask.RequestError, match="export of other data"):
        export(_changed(ad.read_h5ad(csr), part), target, resume=True)
    assert tree_bytes(target) == before


def test_a_complete_export_that_lost_a_file(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(csr, target)
    next(target.glob("var/*")).unlink()
    with pytest.raises(cellucid_dask.RequestError, match=r"is missing.*force"):
        export(csr, target, resume=True)


def test_genes_that_were_added_are_resumed_without_work(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    adata = ad.read_h5ad(csr)
    without = ad.AnnData(obs=adata.obs, obsm=dict(adata.obsm))
    export(without, target)
    export(csr, target, genes_only=True, var_quantization=16)
    added = {"genes_only": True, "resume": True}
    assert export(csr, target, var_quantization=16, **added).was_complete
    with pytest.raises(cellucid_dask.RequestError, match="another var_quantization"):
        export(csr, target, **added)
    check(target)


def test_genes_alone_are_resumed_without_work(csr: Path, tmp_path: Path) -> None:
    target, adata = tmp_path / "out", ad.read_h5ad(csr)
    again = {"genes_only": True, "resume": True}
    assert not export(csr, target, **again).was_complete
    before = written_at(target)
    assert export(csr, target, **again).was_complete
    with pytest.raises(cellucid_dask.RequestError, match="another compression"):
        export(csr, target, **again, compression=1)
    adata.X = adata.X * np.float32(3)
    with pytest.raises(cellucid_dask.RequestError, match="export of other data"):
        export(adata, target, **again)
    assert written_at(target) == before


def written_at(target: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in target.rglob("*")}


def test_resumes_in_a_store(csr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{tmp_path.name}"
    export(csr, f"{url}/whole")
    put = Writer.put

    def fail(self: Writer, files: Mapping[str, bytes]) -> None:
        genes = [name for name in files if "values" in name]
        put(self, {name: data for name, data in files.items() if name not in genes[1:]})
        with self._target.explaining_writes():
            if genes and fs.exists(f"/{tmp_path.name}/out/var"):
                raise OSError("out of order")

    fs = fsspec.filesystem("memory")
    monkeypatch.setattr(Writer, "put", fail)
    with (
        dask.config.set(scheduler="sync"),
        pytest.raises(cellucid_dask.ExportError, match="resume"),
    ):
        export(csr, f"{url}/out")
    assert not fs.exists(f"/{tmp_path.name}/out/dataset_identity.json")
    assert fs.exists(f"/{tmp_path.name}/out/.cellucid-dask/run.json")
    assert not fs.exists(f"/{tmp_path.name}/out/.cellucid-dask/lease.json")
    monkeypatch.undo()
    export(csr, f"{url}/out", resume=True)
    found, whole = (fs.find(f"/{tmp_path.name}/{name}") for name in ("out", "whole"))
    assert [fs.cat(name) for name in found] == [fs.cat(name) for name in whole]


def test_an_export_whose_announcement_was_removed_is_made_anew(csr: Path, tmp_path: Path) -> None:
    """As workflow managers do with a file that is to be made again."""
    target = tmp_path / "out"
    export(csr, target)
    before = tree_bytes(target)
    (target / "dataset_identity.json").unlink()
    with pytest.raises(cellucid_dask.RequestError, match="already contains an export"):
        export(csr, target)
    assert not export(csr, target, resume=True).was_complete
    assert tree_bytes(target) == before
    (target / "dataset_identity.json").unlink()
    export(csr, target, resume=True, gene_identifiers=["3"])
    assert check(target).genes == ["3"]
    (target / "dataset_identity.json").unlink()
    (target / "checksums.sha256").unlink()  # it may be another program's
    with pytest.raises(cellucid_dask.RequestError, match="already contains an export"):
        export(csr, target, resume=True)
