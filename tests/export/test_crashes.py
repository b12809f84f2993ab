"""A run that was stopped anywhere is finished by the next, with the bytes of one that was not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import pytest

from tests.export.crashes import crash, export, is_over, make, moments
from tests.helpers import tree_bytes
from tests.viewer_reader import check, read_export


def test_stopped_at_any_write(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    assert not list((tmp_path / "whole").glob(".*"))

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        died = crash(source, target, at)
        if (target / "dataset_identity.json").exists():
            assert tree_bytes(target).items() >= whole.items()
        if not died or is_over(target):
            return died
        export(source, target, resume=True)
        assert tree_bytes(target) == whole
        assert not list(target.glob(".*"))
        return True

    assert moments(run, step=3) > 60
    check(tmp_path / "0")


@pytest.mark.slow
def test_force_stopped_at_any_write(csr: Path, tmp_path: Path) -> None:
    older = make("csr", seed=1, n_genes=30)
    export(older, tmp_path / "older", var_quantization=16)
    export(csr, tmp_path / "newer")
    before, after = tree_bytes(tmp_path / "older"), tree_bytes(tmp_path / "newer")

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        export(older, target, var_quantization=16)
        died = crash(csr, target, at, force=True)
        there = tree_bytes(target)
        if "dataset_identity.json" in there:
            identity = there["dataset_identity.json"]
            whole = before if identity == before["dataset_identity.json"] else after
            assert there.items() >= whole.items()
        export(csr, target, **({"force": True} if is_over(target) else {"resume": True}))
        assert tree_bytes(target) == after
        return died

    assert moments(run) > 10


def check_promised(target: Path, copy: Path) -> None:
    """Check an export apart from what a run has begun to add to it."""
    export = read_export(target)
    there = export.promised_files()
    if export.identity["stats"]["n_genes"] == 0:  # it changes just before or after the manifest
        there = {name for name in there if not name.startswith("var")}
    for name in there:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target / name, copy / name)
    check(copy)


@pytest.mark.slow
@pytest.mark.parametrize("replace", [False, True])
def test_genes_only_stopped_at_any_write(csr: Path, tmp_path: Path, *, replace: bool) -> None:
    export(csr, tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    without = ad.AnnData(obs=make("csr").obs, obsm=dict(make("csr").obsm))

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        if replace:
            export(csr, target, gene_identifiers=["3", "5"])
        else:
            export(without, target)
        died = crash(csr, target, at, genes_only=True, force=replace)
        check_promised(target, tmp_path / f"{at}-promised")  # with genes or without
        begun = (target / ".cellucid-dask" / "run.json").exists()
        export(csr, target, genes_only=True, resume=begun, force=not begun)
        found = tree_bytes(target)
        assert found.keys() == whole.keys()
        assert json.loads(found["dataset_identity.json"])["stats"]["n_genes"] == 24
        assert {k: v for k, v in found.items() if "var" in k} == {
            k: v for k, v in whole.items() if "var" in k
        }
        check(target)
        return died

    assert moments(run) > 10
