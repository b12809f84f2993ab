"""An export verified against its source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import dask.array as da
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.read import compare
from cellucid_dask.read.comparison import Comparison
from cellucid_dask.read.files import read_documents
from cellucid_dask.request.settings import Settings
from cellucid_dask.source import open_source
from cellucid_dask.store.target import Target
from tests.helpers import edit_json, forget_checksums, small_anndata, write_zarr
from tests.read.damage import DAMAGE, GENE, rewrite, swap


def test_swapped_genes_are_found_with_the_source(target: Path, adata: ad.AnnData) -> None:
    swap(target / "var/gene3.values.u8.gz", target / GENE)

    assert cellucid_dask.verify(target).ok
    report = cellucid_dask.verify(target, adata)

    found = [finding.partition(":")[0] for finding in report.findings]
    assert sorted(found) == ["var/gene3.values.u8.gz", GENE]


@pytest.mark.parametrize(
    "odd",
    [
        {"latent": [[]]}, {"connectivities": {}}, {"vector_fields": 7}, {"embeddings": ["a", "a"]},
        {"centroid_min_points": "7"}, {"obs_continuous_quantization": []}, {"latent": True},
    ],
)  # fmt: skip
def test_settings_that_no_export_has_are_found(
    target: Path, adata: ad.AnnData, odd: dict[str, Any]
) -> None:
    edit_json(target / "dataset_identity.json", lambda m: m["export_settings"].update(odd))
    report = cellucid_dask.verify(target, adata)
    assert any("names settings that no export has" in each for each in report.findings)


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
    monkeypatch.setattr("cellucid_dask.planning.blocks._READ_BYTES", 2**12)
    source = stored(adata, form, tmp_path)
    target = tmp_path / "e"
    cellucid_dask.export(source, target, var_quantization=bits, progress=False)

    assert cellucid_dask.verify(target, source).ok
    extension = {8: "u8", 16: "u16", None: "f32"}[bits]
    swap(*(target / f"var/gene{i}.values.{extension}.gz" for i in (3, 7)))
    forget_checksums(target)
    assert cellucid_dask.verify(target).ok
    assert cellucid_dask.verify(target, source).n_findings == 2


@pytest.mark.parametrize("bits", [8, 16, None])
@pytest.mark.parametrize("slab_values", [1, 200, 2**20])
def test_slabs_do_not_show(
    adata: ad.AnnData, tmp_path: Path, bits: int | None, slab_values: int
) -> None:
    target = tmp_path / "e"
    cellucid_dask.export(adata, target, var_quantization=bits, compression=None, progress=False)
    genes = read_documents(Target.of(target, {})).genes
    assert genes is not None
    vectors = list(genes.vectors.values())
    files = [(target / vector.path).read_bytes() for vector in vectors]

    same = Comparison(vectors, files, slab_values)
    swapped = Comparison(vectors, [files[1], files[0], *files[2:]], slab_values)
    for start in range(0, adata.n_obs, 50):
        same.feed(adata.X[start : start + 50])
        swapped.feed(adata.X[start : start + 50])
    assert not list(same.differences())
    findings = [each.text.partition(":")[0] for each in swapped.differences()]
    assert findings == [vector.path for vector in vectors[:2]]


def differences(target: Path, source: Any, stream_bytes: int) -> list[str]:
    """Compare all genes, as many at a time as `stream_bytes` each allow."""
    opened = Target.of(target, {})
    genes = read_documents(opened).genes
    assert genes is not None
    settings = Settings(genes_only=True)
    with open_source(source) as cells:
        found = compare.compare_genes(
            opened, genes, list(genes.vectors), cells, settings, {}, stream_bytes=stream_bytes
        )
        return list(found)


@pytest.mark.parametrize("form", ["csr", "dense", "lazy"])
def test_rows_are_compared_as_they_come(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a source in row blocks, genes in groups of their own are what they are otherwise."""
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

    assert not differences(tmp_path / "e", source(), stream_bytes=2**40)
    assert len(by_rows) == 6

    adata.X[4_444, [0, 5]] += 0.5
    findings = differences(tmp_path / "e", source(), stream_bytes=2**40)
    assert len(findings) == 2
    assert all(": 1 values" in finding for finding in findings)


def test_genes_named_by_a_column(adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(
        adata, tmp_path / "e", var_gene_id_column="symbol", genes_only=True, progress=False
    )
    assert cellucid_dask.verify(tmp_path / "e", adata).ok


def test_layer_and_raw(target: Path, adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(adata, tmp_path / "raw", layer="raw", genes_only=True, progress=False)
    assert cellucid_dask.verify(tmp_path / "raw", adata, layer="raw").ok
    with pytest.raises(cellucid_dask.RequestError, match="genes are not in var"):
        cellucid_dask.verify(tmp_path / "raw", adata, layer="X")
    assert not cellucid_dask.verify(target, adata, layer="doubled").ok
    with pytest.raises(cellucid_dask.RequestError, match="no layer"):
        cellucid_dask.verify(target, adata, layer="none")


def test_another_source(target: Path, adata: ad.AnnData) -> None:
    report = cellucid_dask.verify(target, adata[:-1].copy())
    assert report.findings == ("the source has 89 cells, the export 90",)
    report = cellucid_dask.verify(target, adata[:, 1:].copy())  # anndata drops unused categories
    genes, categories = report.findings
    assert genes == "var: the source has no gene gene0 (1 in all)"
    assert "cell_type" in categories


def test_a_number_of_genes_is_read(
    target: Path, adata: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE["truncated"][0](target)
    read: list[str] = []
    fetch = Target.fetch
    monkeypatch.setattr(
        Target, "fetch", lambda self, wanted: read.extend(wanted) or fetch(self, wanted)
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


@pytest.mark.parametrize("genes_only", [False, True], ids=["export", "genes only"])
@pytest.mark.parametrize(
    "options",
    [
        {"layer": "X", "normalize": "log1p-cp10k"},
        {"layer": "doubled"},
        {"layer": "raw"},
        {"layer": "doubled", "normalize": "log1p-cp10k"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:doubled holds values that are not integers")
def test_an_export_says_what_its_genes_are_of(
    tmp_path: Path, options: dict[str, Any], *, genes_only: bool
) -> None:
    adata = small_anndata(dtype="int64")
    target = tmp_path / "made"
    cellucid_dask.export(adata, target, genes_only=genes_only, page=False, **options)
    assert cellucid_dask.verify(target, adata, genes="all").ok
    manifest = json.loads((target / "var_manifest.json").read_text())
    assert {key: manifest.pop(key, "X") for key in options} == options
    (target / "var_manifest.json").write_text(json.dumps(manifest))
    forget_checksums(target)
    if options["layer"] != "raw":  # X has other genes
        assert not cellucid_dask.verify(target, adata, genes="all").ok


def test_genes_added_later_say_what_they_are_of(tmp_path: Path) -> None:
    adata, target = small_anndata(dtype="int64"), tmp_path / "made"
    cellucid_dask.export(adata, target, layer="doubled", page=False)
    cellucid_dask.export(adata, target, genes_only=True, force=True, page=False)
    assert cellucid_dask.verify(target, adata, genes="all").ok
    assert "layer" not in (target / "dataset_identity.json").read_text()


FIELDS: dict[str, Any] = {
    "connectivities": "connectivities",
    "vector_fields": ["velocity_umap"],
    "cell_ids": True,
    "page": False,
    "progress": False,
}


@pytest.fixture
def with_fields(tmp_path: Path) -> tuple[Path, ad.AnnData]:
    adata = small_anndata(n_cells=90, n_genes=20)
    adata.obsm["velocity_umap"] = np.ones((90, 2), np.float32)
    cellucid_dask.export(adata, tmp_path / "fields", **FIELDS)
    forget_checksums(tmp_path / "fields")
    assert cellucid_dask.verify(tmp_path / "fields", adata).ok
    return tmp_path / "fields", adata


def _other_graph(adata: ad.AnnData) -> None:
    graph = adata.obsp["connectivities"].tolil()
    graph[0, 1] = 1 - bool(graph[0, 1])
    graph[1, 0] = graph[0, 1]
    adata.obsp["connectivities"] = graph.tocsr()


CHANGES: dict[str, tuple[Any, str]] = {
    "number": (lambda adata: adata.obs["depth"].mask(adata.obs.index == "cell5", 0), "depth"),
    "points": (lambda adata: adata.obsm["X_umap"].__setitem__((3, 0), 99), "points_2d"),
    "latent": (lambda adata: adata.obsm["X_pca"].__setitem__((slice(45), 0), 99), "outliers"),
    "vectors": (lambda adata: adata.obsm["velocity_umap"].__setitem__((3, 0), 9), "vectors/"),
    "graph": (_other_graph, "edges"),
    "category": (
        lambda adata: adata.obs.__setitem__(
            "cell_type", adata.obs["cell_type"].cat.rename_categories({"T cell": "other"})
        ),
        "cell_type",
    ),
    "column": (lambda adata: adata.obs.pop("depth"), "obs has no column depth"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_not_of_genes_is_compared(with_fields: tuple[Path, ad.AnnData], kind: str) -> None:
    target, adata = with_fields
    change, word = CHANGES[kind]
    other = adata.copy()
    if (column := change(other)) is not None and kind == "number":
        other.obs["depth"] = column
    report = cellucid_dask.verify(target, other)
    assert not report.ok
    assert any(word in finding for finding in report.findings), report.findings


def test_swapped_columns_are_found(with_fields: tuple[Path, ad.AnnData]) -> None:
    target, adata = with_fields
    swap(*(target / f"obs/{name}.codes.u8.gz" for name in ("doublet", "sample")))
    assert not cellucid_dask.verify(target, adata).ok


def _in_another_order(adata: ad.AnnData) -> ad.AnnData:
    return adata[::-1].copy()


def _counts(adata: ad.AnnData) -> ad.AnnData:
    adata.X = np.ceil(adata.X.toarray())
    return adata


def _another_version(adata: ad.AnnData) -> ad.AnnData:
    adata.X = adata.X * np.float32(1.5)
    return adata


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_in_another_order, "the cells are probably in another order"),
        (_counts, "the source holds whole numbers, such as raw counts, and the export does not"),
        (_another_version, 'another version or layer: name the right layer.*layer="doubled"'),
    ],
)
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_the_cause_where_nearly_all_genes_differ(
    target: Path, adata: ad.AnnData, change: Any, words: str, form: str
) -> None:
    changed = change(adata.copy())
    changed.X = sparse.csr_matrix(changed.X).asformat(form)
    first, *others = cellucid_dask.verify(target, changed, genes="all").findings
    assert first.startswith(("20 of 20 genes differ", "19 of 20 genes differ"))
    assert re.search(words, first), first
    assert sum(each.startswith("var/") for each in others) >= 19


def test_an_export_of_counts_against_normalized_values(adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(_counts(adata.copy()), tmp_path / "counts", progress=False)
    (first, *_) = cellucid_dask.verify(tmp_path / "counts", adata).findings
    assert "the export holds whole numbers, such as raw counts" in first
