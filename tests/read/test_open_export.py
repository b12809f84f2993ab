"""open_export gives back what was exported, as read independently of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import cellucid_dask
from tests.helpers import edit_json, expression, forget_checksums, read_source, small_anndata
from tests.read.exports import REAL, add_graph
from tests.viewer_reader import read_export


def tolerance(values: Any, bits: int | None) -> float:
    """Return half a quantization step, and the rounding of float32."""
    if bits is None or not values.size:
        return 0
    step = float(np.ptp(values.astype(np.float64))) / (2**bits - 2)
    return step / 2 + float(np.spacing(np.float32(np.abs(values).max())))


@pytest.mark.parametrize(("name", "layer", "options"), REAL)
def test_real_data_are_intact_and_read_back(
    shared_data: Path, tmp_path: Path, name: str, layer: str, options: dict[str, Any]
) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(shared_data / name, target, layer=layer, progress=False, **options)
    adata = read_source(shared_data / name)
    if options.get("make_genes_unique"):
        adata.var_names_make_unique()

    report = cellucid_dask.verify(
        target, None if adata.X is None else shared_data / name, layer=layer
    )
    assert report.ok, report.findings
    assert report.n_compared == (0 if adata.X is None else min(100, report.n_genes))
    found = cellucid_dask.open_export(target)
    assert found.n_cells == adata.n_obs
    if adata.X is None:
        assert found.genes == []
        assert found.to_anndata().X is None
    else:
        matrix, genes = expression(adata, layer)
        assert found.genes == genes
        whole = found.to_anndata().X
        whole = whole.toarray() if sparse.issparse(whole) else whole
        assert whole.dtype == np.float32
        bits = options.get("var_quantization", 8)
        for number, gene in enumerate(genes[:40]):
            values = found.gene(gene)
            assert values.dtype == np.float32
            limit = tolerance(matrix[:, number], bits)
            np.testing.assert_allclose(values, matrix[:, number], rtol=0, atol=limit)
            np.testing.assert_array_equal(values, whole[:, number])
        limits = [tolerance(column, bits) for column in matrix.T]
        assert (np.abs(whole.astype(np.float64) - matrix) <= limits).all()
    if options.get("genes_only"):
        assert found.obs.shape == (adata.n_obs, 0)
        return
    independent = read_export(target)
    assert set(found.obs) == set(adata.obs)
    for key, column in adata.obs.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            assert list(found.obs[key].cat.categories) == list(map(str, column.cat.categories))
        if isinstance(found.obs[key].dtype, pd.CategoricalDtype):
            labels = [None if pd.isna(each) else str(each) for each in column]
            assert [None if pd.isna(each) else each for each in found.obs[key]] == labels
        else:
            values = column.to_numpy(np.float32)
            limit = tolerance(values, options.get("obs_continuous_quantization", 8))
            np.testing.assert_allclose(found.obs[key], values, rtol=0, atol=limit)
    for dimension in found.dimensions:
        np.testing.assert_array_equal(found.points(dimension), independent.points(dimension))


def test_missing_values(tmp_path: Path) -> None:
    matrix = np.array([[0, 1, np.nan], [np.inf, 1, np.nan], [2, 1, np.nan]], np.float32)
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["b", None, "b"], ["z", "b"]), "score": [1.0, np.nan, 3.0]},
        index=["x", "y", "z"],
    )
    adata = ad.AnnData(matrix, obs=obs, obsm={"X_umap": np.eye(3, 2)})
    cellucid_dask.export(adata, tmp_path / "e", progress=False)

    found = cellucid_dask.open_export(tmp_path / "e")

    np.testing.assert_array_equal(found.gene("0"), np.float32([0, np.nan, 2]))
    np.testing.assert_array_equal(found.gene("1"), np.float32([1, 1, 1]))
    np.testing.assert_array_equal(found.gene("2"), np.float32([np.nan] * 3))
    assert list(found.obs["kind"].cat.categories) == ["z", "b"]
    assert list(found.obs["kind"].cat.codes) == [1, -1, 1]
    np.testing.assert_array_equal(found.obs["score"], np.float32([1, np.nan, 3]))
    np.testing.assert_array_equal(
        np.asarray(found.to_anndata().X),
        np.float32([[0, 1, np.nan], [np.nan, 1, np.nan], [2, 1, np.nan]]),
    )


def test_anndata_goes_to_a_file_and_back(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(exported[1], target, dataset_name="small", progress=False)
    add_graph(target, [(0, 1), (0, 5), (3, 4)], 120)
    found = cellucid_dask.open_export(target)

    adata = found.to_anndata(["gene3", "gene1"])
    adata.write_h5ad(tmp_path / "back.h5ad")
    back = ad.read_h5ad(tmp_path / "back.h5ad")

    assert list(back.var_names) == ["gene3", "gene1"]
    assert sparse.issparse(back.X)
    np.testing.assert_array_equal(back.X.toarray()[:, 1], found.gene("gene1"))
    given = {"X_umap", "X_3"}
    assert set(back.obsm) == {"X_points_2d", "X_points_3d", "velocity_umap_2d"} | given
    np.testing.assert_array_equal(back.obsm["X_points_3d"], found.points(3))
    expected = np.zeros((120, 120))
    for one, two in [(0, 1), (0, 5), (3, 4)]:
        expected[one, two] = expected[two, one] = 1
    np.testing.assert_array_equal(back.obsp["connectivities"].toarray(), expected)
    assert back.uns["cellucid"]["name"] == "small"
    assert list(back.obs["cell_type"].cat.categories) == ["T cell", "B cell", "monocyte", "unseen"]
    np.testing.assert_array_equal(found.vectors("velocity_umap", 2), found.points(2))
    assert found.vector_fields == {"velocity_umap": [2]}
    # that export is also one to verify
    assert cellucid_dask.verify(target, exported[1]).ok


def test_graph_and_vectors_of_real_data(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "cellrank_200.h5ad", tmp_path / "export"
    cellucid_dask.export(
        source,
        target,
        connectivities="connectivities",
        embeddings=["X_umap"],
        vector_fields={"shift_umap": "X_umap"},
        progress=False,
    )
    adata, found = read_source(source), cellucid_dask.open_export(target)

    expected = abs(adata.obsp["connectivities"]) > 0
    expected = (expected + expected.T).astype(np.float32)
    expected.setdiag(0)
    graph = found.connectivity()
    assert graph is not None
    np.testing.assert_array_equal(graph.toarray(), expected.toarray())
    scale = np.ptp(found.points(2), axis=0) / np.ptp(adata.obsm["X_umap"], axis=0)
    np.testing.assert_allclose(
        found.vectors("shift_umap", 2), adata.obsm["X_umap"] * scale.max(), atol=1e-5
    )
    assert cellucid_dask.verify(target, source).ok


def test_by_url(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(exported[0]), f"/{tmp_path.name}/e", recursive=True)

    found = cellucid_dask.open_export(f"memory://{tmp_path.name}/e")
    local = cellucid_dask.open_export(exported[0])

    np.testing.assert_array_equal(found.gene("gene2"), local.gene("gene2"))
    pd.testing.assert_frame_equal(found.obs, local.obs)
    np.testing.assert_array_equal(found.points(2), local.points(2))


def test_what_is_not_there_is_a_wrong_request(
    exported: tuple[Path, ad.AnnData], tmp_path: Path
) -> None:
    found = cellucid_dask.open_export(exported[0])
    with pytest.raises(cellucid_dask.RequestError, match="Did you mean gene11"):
        found.gene("Gene11x")
    with pytest.raises(cellucid_dask.RequestError, match="no gene 'xyz'"):
        found.to_anndata(["xyz"])
    with pytest.raises(cellucid_dask.RequestError, match="dimension 1, but of: 2, 3"):
        found.points(1)
    with pytest.raises(cellucid_dask.RequestError, match="vector field"):
        found.vectors("velocity", 2)
    assert found.connectivity() is None
    for nothing in (tmp_path, "memory://nowhere"):
        with pytest.raises(cellucid_dask.RequestError, match="contains no export"):
            cellucid_dask.open_export(nothing)
    with pytest.raises(cellucid_dask.RequestError, match=r"nowhere does not exist\.$"):
        cellucid_dask.open_export(tmp_path / "nowhere")
    with pytest.raises(cellucid_dask.RequestError, match="deep does not exist, nor does its"):
        cellucid_dask.open_export(tmp_path / "nowhere/deep")


def test_interrupted_export_is_none(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    for file in ("obs_manifest.json", "var_manifest.json"):
        (tmp_path / file).write_bytes((exported[0] / file).read_bytes())
    with pytest.raises(cellucid_dask.RequestError, match="no complete export"):
        cellucid_dask.open_export(tmp_path)


def test_repr_is_escaped(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(12, 2, dtype=np.float32),
        var=pd.DataFrame(index=["<script>alert(1)</script>", "B"]),
        obsm={"X_umap": np.eye(12, 2)},
    )
    result = cellucid_dask.export(
        adata, tmp_path / "<i>e", dataset_name="<img src=x>", progress=False
    )
    plan = cellucid_dask.plan(adata)
    found = cellucid_dask.open_export(tmp_path / "<i>e")
    (tmp_path / "<i>e/<u>.txt").write_text("")
    report = cellucid_dask.verify(tmp_path / "<i>e")

    assert "<script>" in repr(found)
    for each in (result, plan, found, report):
        page = each._repr_html_()
        assert page.startswith("<table>")
        assert not any(tag in page for tag in ("<script>", "<img", "<i>", "<u>"))
    assert "&lt;script&gt;" in found._repr_html_()
    assert "&lt;u&gt;.txt" in report._repr_html_()


def test_anndata_for_scanpy(tmp_path: Path) -> None:
    adata = small_anndata(extras=False)
    adata.obsm["X_tsne"] = np.random.default_rng(0).random((40, 3))
    options: dict[str, Any] = {"cell_ids": True, "gene_aliases": "symbol", "progress": False}
    embeddings = ["X_umap", "X_tsne"]
    cellucid_dask.export(adata, tmp_path / "out", embeddings=embeddings, **options)
    opened = cellucid_dask.open_export(tmp_path / "out")
    found = opened.to_anndata(["gene3", "gene1"])
    assert list(found.obs_names) == list(adata.obs_names) == opened.cell_ids()
    assert list(found.var_names) == ["gene3", "gene1"]
    assert list(found.var["symbol"]) == ["symbol-gene3", "symbol-gene1"]
    assert np.array_equal(found.obsm["X_umap"], opened.points(2))
    assert np.array_equal(found.obsm["X_tsne"], opened.points(3))
    assert {"X_points_2d", "X_points_3d"} <= set(found.obsm)


@pytest.mark.parametrize("recorded", [True, False])
def test_anndata_of_one_array_in_two_dimensions(tmp_path: Path, recorded: bool) -> None:
    adata = small_anndata(extras=False)
    adata.obsm["X_umap"] = np.random.default_rng(0).random((40, 3))
    target = tmp_path / "out"
    embeddings = ["X_umap:0,1", "X_umap"]
    cellucid_dask.export(adata, target, embeddings=embeddings, progress=False)
    if not recorded:  # as another program writes it
        forget_checksums(target)
        edit_json(
            target / "dataset_identity.json",
            lambda identity: identity["export_settings"].pop("embeddings"),
        )
    opened = cellucid_dask.open_export(target)
    assert opened.cell_ids() is None
    found = opened.to_anndata(["gene1"])
    assert np.array_equal(found.obsm["X_umap"], opened.points(2))
    assert list(found.obs_names[:2]) == ["0", "1"]


@pytest.mark.parametrize("damage", ["aliases.json", "cells.json.gz"])
def test_damaged_names(tmp_path: Path, damage: str) -> None:
    target = tmp_path / "out"
    options: dict[str, Any] = {"cell_ids": True, "gene_aliases": "symbol", "progress": False}
    cellucid_dask.export(small_anndata(), target, **options)
    (target / damage).write_bytes(b"{")
    with pytest.raises(cellucid_dask.ExportError, match=damage):
        cellucid_dask.open_export(target).to_anndata(["gene1"])
