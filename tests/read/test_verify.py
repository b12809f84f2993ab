"""verify passes what is whole, and finds every kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import dask
import fsspec
import pytest

import cellucid_dask
from cellucid_dask.cli import commands as cli
from cellucid_dask.cli.commands import main
from cellucid_dask.store.target import Target
from tests.read.damage import CELL_TYPE, DAMAGE, GENE, N_CELLS, swap, write


def test_what_is_whole_passes(target: Path, adata: ad.AnnData) -> None:
    report = cellucid_dask.verify(target, adata)

    assert report.ok, report.findings
    assert (report.n_cells, report.n_genes, report.n_compared) == (N_CELLS, 20, 20)
    # 20 genes, points, vectors, 2 columns of numbers, 3 of categories with outliers, 2 edges
    assert report.n_files == 20 + 1 + 1 + 2 + 2 * 3 + 2
    assert "ok" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(target: Path, kind: str) -> None:
    damage, expected = DAMAGE[kind]
    damage(target)

    report = cellucid_dask.verify(target)

    assert not report.ok
    assert any(expected in finding for finding in report.findings), report.findings
    assert all("\n" not in finding for finding in report.findings)
    assert str(target.parent) not in "".join(report.findings)


@pytest.mark.parametrize("kind", ["gene deleted", "truncated", "bit flipped", "gene left over"])
def test_damage_is_all_that_is_found(target: Path, adata: ad.AnnData, kind: str) -> None:
    DAMAGE[kind][0](target)
    assert cellucid_dask.verify(target, adata).n_findings == 1


def test_findings_are_counted_but_not_all_told(target: Path) -> None:
    for number in range(200):
        write(target / f"var/old{number}.values.u8.gz")
    report = cellucid_dask.verify(target)
    assert report.n_findings == 200
    assert len(report.findings) == 50
    assert "200 findings, of which the first 50" in str(report)


def test_by_url(target: Path, adata: ad.AnnData, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(target), f"/{tmp_path.name}/e", recursive=True)
    url = f"memory://{tmp_path.name}/e"

    report = cellucid_dask.verify(url, adata)
    assert report.ok, report.findings
    assert report.listed
    memory.pipe_file(f"/{tmp_path.name}/e/{GENE}", b"nothing")
    memory.pipe_file(f"/{tmp_path.name}/e/var/more.bin", b"nothing")
    memory.rm_file(f"/{tmp_path.name}/e/{CELL_TYPE}")
    with dask.config.set(scheduler="threads"):
        findings = cellucid_dask.verify(url, adata).findings
    assert {finding.split()[0] for finding in findings} == {GENE, CELL_TYPE, "var/more.bin"}


def test_store_without_lists(
    target: Path, adata: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "tree", lambda _: None)
    report = cellucid_dask.verify(target, adata)
    assert report.ok
    assert "were not checked" in str(report)
    (target / GENE).unlink()
    assert cellucid_dask.verify(target).findings == (f"{GENE} is missing",)


def test_exit_codes(
    target: Path, adata: ad.AnnData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    source = ["--source", str(tmp_path / "a.h5ad")]

    assert main(["verify", str(target), *source, "--genes", "all"]) == 0
    assert "20 genes compared" in capsys.readouterr().out
    assert main(["verify", str(target), *source, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_compared"] == 20
    assert main(["verify", str(target), *source, "--layer", "doubled", "--genes", "5"]) == 1
    assert "half a step" in capsys.readouterr().out
    (target / GENE).unlink()
    assert main(["verify", str(target), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"] == [f"{GENE} is missing"]
    for wrong in (
        [str(tmp_path / "nowhere")],
        [str(target), "--source", str(tmp_path / "nowhere.h5ad")],
        [str(target), *source, "--layer", "nothing"],
    ):
        assert main(["verify", *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert main(["verify", str(target), "--genes", "none"]) == 2


def test_genes_by_name(target: Path, adata: ad.AnnData, capsys: pytest.CaptureFixture[str]) -> None:
    swap(target / "var/gene3.values.u8.gz", target / GENE)
    assert cellucid_dask.verify(target, adata, genes=["gene1", "gene2"]).ok
    report = cellucid_dask.verify(target, adata, genes=["gene3", "gene1"])
    assert (report.n_compared, report.n_findings) == (2, 1)
    with pytest.raises(cellucid_dask.RequestError, match=r"no gene 'Gene1'.*Did you mean gene1"):
        cellucid_dask.verify(target, genes=["Gene1"])
    assert main(["verify", str(target), "--genes", "gene1,gene2"]) == 0
    assert main(["verify", str(target), "--genes", "gene1,GENE2"]) == 2
    assert "gene2" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_on_workers(target: Path, adata: ad.AnnData) -> None:
    distributed = pytest.importorskip("distributed")
    swap(target / "var/gene3.values.u8.gz", target / GENE)
    here = cellucid_dask.verify(target, adata)
    with distributed.Client(n_workers=1, threads_per_worker=2, dashboard_address=None):
        there = cellucid_dask.verify(target, adata)
    assert there.findings == here.findings


def test_demo_verifies_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cellucid_dask.cli import demo

    make = demo.make_dataset
    monkeypatch.setattr(demo, "make_dataset", lambda: make(300, 40))
    story = demo.demo(tmp_path / "demo")
    assert "40 genes within half a step" in story
    assert cli.main(["verify", str(tmp_path / "demo/export")]) == 0
