"""verify passes what is whole, and finds every kind of damage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import dask.array as da
import fsspec
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.cli import commands as cli
from cellucid_dask.cli.commands import main
from cellucid_dask.read import compare
from cellucid_dask.read import scan as checks
from tests.helpers import edit_json, small_anndata, write_zarr
from tests.read.test_open_export import REAL, add_graph

N_CELLS = 90
EDGES = [(0, 1), (0, 5), (3, 4), (3, 89)]


@pytest.fixture
def adata() -> ad.AnnData:
    return small_anndata(n_cells=N_CELLS, n_genes=20)


@pytest.fixture
def target(adata: ad.AnnData, tmp_path: Path) -> Path:
    """Return an export with everything that an export can have."""
    path = tmp_path / "export"
    cellucid_dask.export(adata, path, dataset_name="small", progress=False)
    add_graph(path, EDGES, N_CELLS)
    return path


def rewrite(file: Path, edit: Callable[[Any], Any], dtype: str = "u1") -> None:
    """Change the values of a file, and pack them properly again."""
    values = np.frombuffer(gzip.decompress(file.read_bytes()), dtype).copy()
    changed = edit(values)
    file.write_bytes(gzip.compress((values if changed is None else changed).tobytes(), mtime=0))


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def write(file: Path, data: bytes = b"") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


GENE = "var/gene7.values.u8.gz"
CELL_TYPE = "obs/cell_type.codes.u8.gz"
IDENTITY, OBS, VAR = "dataset_identity.json", "obs_manifest.json", "var_manifest.json"
GRAPH = "connectivity_manifest.json"

DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gene deleted": (lambda t: (t / GENE).unlink(), f"{GENE} is missing"),
    "obs deleted": (lambda t: (t / CELL_TYPE).unlink(), f"{CELL_TYPE} is missing"),
    "points deleted": (lambda t: (t / "points_2d.bin.gz").unlink(), "points_2d.bin.gz is missing"),
    "identity deleted": (lambda t: (t / IDENTITY).unlink(), f"{IDENTITY} is missing"),
    "obs manifest deleted": (lambda t: (t / OBS).unlink(), f"{OBS} is missing"),
    "var manifest deleted": (lambda t: (t / VAR).unlink(), "n_genes is 20"),
    "graph manifest deleted": (lambda t: (t / GRAPH).unlink(), "has_connectivity is True"),
    "truncated": (
        lambda t: (t / GENE).write_bytes((t / GENE).read_bytes()[:-3]),
        f"{GENE} is cut short",
    ),
    "emptied": (lambda t: (t / GENE).write_bytes(b""), f"{GENE} is cut short"),
    "not gzip": (lambda t: (t / GENE).write_bytes(b"\0" * 50), f"{GENE} cannot be decompressed"),
    "bit flipped": (
        lambda t: (t / GENE).write_bytes(
            (t / GENE).read_bytes()[:-6] + b"\xff" + (t / GENE).read_bytes()[-5:]
        ),
        f"{GENE} cannot be decompressed",
    ),
    "trailing bytes": (
        lambda t: (t / GENE).write_bytes((t / GENE).read_bytes() + b"\0"),
        f"{GENE} goes on after its gzip member",
    ),
    "two members": (
        lambda t: (t / GENE).write_bytes(2 * (t / GENE).read_bytes()),
        f"{GENE} goes on after its gzip member",
    ),
    "a cell too few": (lambda t: rewrite(t / GENE, lambda v: v[:-1]), f"{GENE} holds"),
    "a cell too many": (
        lambda t: rewrite(t / GENE, lambda v: np.append(v, v[:1])),
        f"{GENE} holds more",
    ),
    "no highest value": (
        lambda t: rewrite(t / GENE, lambda v: np.minimum(v, 253)),
        f"{GENE} has no value at one end",
    ),
    "no such category": (
        lambda t: rewrite(t / CELL_TYPE, lambda v: np.where(v == 1, 4, v).astype("u1")),
        f"{CELL_TYPE} has",
    ),
    "points not finite": (
        lambda t: rewrite(t / "points_2d.bin.gz", lambda v: v.put(3, np.nan), "<f4"),
        "points_2d.bin.gz has 1 coordinates that are not finite",
    ),
    "vectors cut": (
        lambda t: rewrite(t / "vectors/velocity_umap_2d.bin.gz", lambda v: v[:-2], "<f4"),
        "vectors/velocity_umap_2d.bin.gz holds",
    ),
    "gene left over": (lambda t: write(t / "var/old.values.u8.gz"), "var/old.values.u8.gz is left"),
    "receipt left over": (lambda t: write(t / ".cellucid-dask/1.json"), ".cellucid-dask/1.json is"),
    "strange file": (lambda t: write(t / "odd\nname"), "odd\ufffdname is left over"),
    "wrong n_cells": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_cells=91)),
        "documents differ in their cells",
    ),
    "wrong n_genes": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_genes=19)),
        "n_genes is 19, the manifests say 20",
    ),
    "wrong n_edges": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_edges=3)),
        "n_edges is 3",
    ),
    "wrong obs fields": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["obs_fields"].pop()),
        "obs_fields",
    ),
    "wrong quantization": (
        lambda t: edit_json(
            t / IDENTITY, lambda m: m["export_settings"].update(var_quantization=16)
        ),
        "var_quantization is 16",
    ),
    "wrong default dimension": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["embeddings"].update(default_dimension=3)),
        "default_dimension",
    ),
    "wrong path": (
        lambda t: edit_json(t / VAR, lambda m: m["_varSchema"].update(pathPattern="../{key}")),
        f"{VAR} has pathPattern",
    ),
    "range upside down": (
        lambda t: edit_json(t / VAR, lambda m: m["fields"][0].reverse()),
        f"{VAR} ",
    ),
    "not JSON": (lambda t: write(t / OBS, b'{"a":NaN}'), f"{OBS} is not JSON"),
    "edges unsorted": (
        lambda t: [
            rewrite(t / f"connectivity/edges.{end}.bin.gz", lambda v: v[::-1], "<u2")
            for end in ("src", "dst")
        ],
        "the edges are not sorted",
    ),
    "edges twice": (
        lambda t: [
            rewrite(t / f"connectivity/edges.{end}.bin.gz", lambda v: v[[0, 1, 2, 2]], "<u2")
            for end in ("src", "dst")
        ],
        "the edges are not sorted, or not unique",
    ),
    "edges backwards": (
        lambda t: swap(t / "connectivity/edges.src.bin.gz", t / "connectivity/edges.dst.bin.gz"),
        "from a lower to a higher cell",
    ),
    "edges out of range": (
        lambda t: rewrite(t / "connectivity/edges.dst.bin.gz", lambda v: v.put(3, 90), "<u2"),
        "name cells that do not exist",
    ),
    "edges cut": (
        lambda t: rewrite(t / "connectivity/edges.dst.bin.gz", lambda v: v[:-1], "<u2"),
        "edges.dst.bin.gz holds",
    ),
    "wrong max_neighbors": (
        lambda t: edit_json(t / GRAPH, lambda m: m.update(max_neighbors=7)),
        "give a cell 2 neighbors, not 7",
    ),
}


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


def test_swapped_genes_are_found_with_the_source(target: Path, adata: ad.AnnData) -> None:
    swap(target / "var/gene3.values.u8.gz", target / GENE)

    assert cellucid_dask.verify(target).ok
    report = cellucid_dask.verify(target, adata)

    found = [finding.partition(":")[0] for finding in report.findings]
    assert sorted(found) == ["var/gene3.values.u8.gz", GENE]


@pytest.mark.parametrize("code", [-1, 1, 255])
def test_one_wrong_code_is_found_with_the_source(
    target: Path, adata: ad.AnnData, code: int
) -> None:
    def edit(codes: Any) -> None:
        cell = np.flatnonzero((codes > 1) & (codes < 250))[5]
        codes[cell] = code if code == 255 else int(codes[cell]) + code

    rewrite(target / GENE, edit)

    report = cellucid_dask.verify(target, adata)
    assert report.n_findings == 1
    assert f"{GENE}: 1 values" in report.findings[0]


def stored(adata: ad.AnnData, form: str, tmp_path: Path) -> Any:
    matrix = adata.X
    if "dense" in form or "lazy" in form:
        adata.X = matrix.toarray()
    elif "csc" in form:
        adata.X = sparse.csc_matrix(matrix)
    if "zarr" in form:
        return write_zarr(adata, tmp_path / "a.zarr", chunks=(16, 7) if "dense" in form else None)
    if "lazy" in form:
        adata.X = da.from_array(adata.X, chunks=(33, 6))
        return adata
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.mark.parametrize("bits", [8, 16, None])
@pytest.mark.parametrize(
    "form", ["h5ad csr", "h5ad csc", "h5ad dense", "zarr csr", "zarr dense", "lazy"]
)
def test_sources_of_every_form(
    adata: ad.AnnData, tmp_path: Path, form: str, bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_SLAB_VALUES", 200)
    monkeypatch.setattr("cellucid_dask.planning.blocks._READ_BYTES", 2**12)
    source = stored(adata, form, tmp_path)
    target = tmp_path / "e"
    cellucid_dask.export(source, target, var_quantization=bits, progress=False)

    assert cellucid_dask.verify(target, source).ok
    extension = {8: "u8", 16: "u16", None: "f32"}[bits]
    swap(*(target / f"var/gene{i}.values.{extension}.gz" for i in (3, 7)))
    assert cellucid_dask.verify(target).ok
    assert cellucid_dask.verify(target, source).n_findings == 2


@pytest.mark.parametrize("form", ["csr", "dense", "lazy"])
def test_rows_are_compared_as_they_come(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a source in row blocks, genes in groups of their own are what they are otherwise."""
    monkeypatch.setattr(compare, "_STREAM_BYTES", 2**28)
    monkeypatch.setattr("cellucid_dask.planning.blocks._READ_BYTES", 2**16)
    monkeypatch.setattr("cellucid_dask.planning.blocks._TILE_VALUES", 2**14)
    by_rows = []
    compare_rows = compare._by_rows
    monkeypatch.setattr(
        compare, "_by_rows", lambda *given: by_rows.append(1) or compare_rows(*given)
    )
    adata = small_anndata(n_cells=5_000, n_genes=6, density=0.9, form="dense", extras=False)
    cellucid_dask.export(adata, tmp_path / "e", progress=False)

    def source() -> Any:
        if form == "lazy":
            lazy = da.from_array(adata.X.copy(), chunks=(700, 4))
            return ad.AnnData(lazy, obs=adata.obs, var=adata.var)
        held = adata.X if form == "dense" else sparse.csr_matrix(adata.X)
        ad.AnnData(held, obs=adata.obs, var=adata.var).write_h5ad(tmp_path / "a.h5ad")
        return tmp_path / "a.h5ad"

    report = cellucid_dask.verify(tmp_path / "e", source(), genes="all")
    assert report.ok, report.findings
    assert len(by_rows) == 6

    adata.X[4_444, [0, 5]] += 0.5
    report = cellucid_dask.verify(tmp_path / "e", source(), genes="all")
    assert report.n_findings == 2
    assert all(": 1 values" in finding for finding in report.findings)


@pytest.mark.parametrize(("name", "layer", "options"), REAL)
def test_real_data(
    shared_data: Path, tmp_path: Path, name: str, layer: str, options: dict[str, Any]
) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(shared_data / name, target, layer=layer, progress=False, **options)

    source = None if name == "ventolab_no_x.h5ad" else shared_data / name
    report = cellucid_dask.verify(target, source, layer=layer)

    assert report.ok, report.findings
    assert report.n_compared == min(100, report.n_genes) * (source is not None)


def test_genes_named_by_a_column(adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(
        adata, tmp_path / "e", var_gene_id_column="symbol", genes_only=True, progress=False
    )
    assert cellucid_dask.verify(tmp_path / "e", adata).ok


def test_layer_and_raw(target: Path, adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(adata, tmp_path / "raw", layer="raw", genes_only=True, progress=False)
    assert cellucid_dask.verify(tmp_path / "raw", adata, layer="raw").ok
    with pytest.raises(cellucid_dask.RequestError, match="genes are not in var"):
        cellucid_dask.verify(tmp_path / "raw", adata)
    assert not cellucid_dask.verify(target, adata, layer="doubled").ok
    with pytest.raises(cellucid_dask.RequestError, match="no layer"):
        cellucid_dask.verify(target, adata, layer="none")


def test_another_source(target: Path, adata: ad.AnnData) -> None:
    report = cellucid_dask.verify(target, adata[:-1].copy())
    assert report.findings == ("the source has 89 cells, the export 90",)
    report = cellucid_dask.verify(target, adata[:, 1:].copy())
    assert report.findings == ("var: the source has no gene gene0 (1 in all)",)


def test_a_number_of_genes_is_read(
    target: Path, adata: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE["truncated"][0](target)
    read: list[str] = []
    fetch = checks.Target.fetch
    monkeypatch.setattr(
        checks.Target, "fetch", lambda self, wanted: read.extend(wanted) or fetch(self, wanted)
    )
    with dask.config.set(scheduler="synchronous"):
        report = cellucid_dask.verify(target, adata, genes=3)
    genes = {each for each in read if each.startswith("var/")}
    assert genes == {f"var/gene{i}.values.u8.gz" for i in (0, 10, 19)}
    assert report.ok
    assert report.n_compared == 3
    (target / GENE).unlink()  # that it exists is looked at all the same
    assert cellucid_dask.verify(target, genes=3).findings == (f"{GENE} is missing",)
    for wrong in (0, -1, True, "some"):
        with pytest.raises(cellucid_dask.RequestError, match="genes is"):
            cellucid_dask.verify(target, genes=wrong)


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
    monkeypatch.setattr(checks.Target, "tree", lambda _: None)
    report = cellucid_dask.verify(target, adata)
    assert report.ok
    assert "could not be looked for" in str(report)
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
    with pytest.raises(SystemExit) as left:
        main(["verify", str(target), "--genes", "none"])
    assert left.value.code == 2


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
