"""An export in the format cellucid-zarr, read back and verified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError, RequestError
from tests.helpers import SETTINGS, dense, edit_json, write_h5ad
from tests.ready import ready_anndata

ZARR: dict[str, Any] = {
    **SETTINGS, "format": "cellucid-zarr", "connectivities": "connectivities",
}  # fmt: skip


@pytest.fixture
def target(tmp_path: Path) -> Path:
    cellucid_dask.export(ready_anndata(), tmp_path / "out", **ZARR)
    return tmp_path / "out"


def test_everything_is_read_back(target: Path) -> None:
    adata, opened = ready_anndata(), cellucid_dask.open_export(target)
    assert opened.n_cells == adata.n_obs
    assert opened.genes == list(adata.var_names)
    assert opened.dimensions == [2]
    assert opened.vector_fields == {"velocity_umap": [2]}
    assert opened.identity()["name"] == "Cells"
    for gene in ("gene3", "gene7"):
        np.testing.assert_array_equal(opened.gene(gene), dense(adata[:, gene].X).reshape(-1))
    assert opened.obs["kind"].equals(adata.obs["kind"])
    assert list(opened.obs.index) == list(adata.obs_names)
    points = opened.points(2)
    assert points.min() == -1
    assert points.max() == 1
    shape = adata.obsm["X_umap"] - adata.obsm["X_umap"].mean(axis=0)
    scale = points[0] - points.mean(axis=0)
    np.testing.assert_allclose(scale / shape[0], (scale / shape[0])[0], rtol=1e-3)
    ratio = opened.vectors("velocity_umap") / adata.obsm["velocity_umap"]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    graph = opened.connectivity()
    assert graph is not None
    assert (graph != adata.obsp["connectivities"].astype(np.float32)).nnz == 0
    assert "cells        60" in repr(opened)


def test_anndata_of_all_or_some_genes(target: Path) -> None:
    adata, opened = ready_anndata(), cellucid_dask.open_export(target)
    whole = opened.to_anndata()
    np.testing.assert_array_equal(dense(whole.X), dense(adata.X))
    pd.testing.assert_frame_equal(whole.var, adata.var, check_index_type=False)
    some = opened.to_anndata(["gene5", "gene1"])
    assert list(some.var_names) == ["gene5", "gene1"]
    np.testing.assert_array_equal(dense(some.X), dense(adata[:, ["gene5", "gene1"]].X))
    with pytest.raises(RequestError, match=r"no gene 'gene99'.*Did you mean"):
        opened.to_anndata(["gene99"])


def test_genes_by_the_column_that_names_them(tmp_path: Path) -> None:
    adata = ready_anndata()
    cellucid_dask.export(adata, tmp_path / "out", **ZARR, var_gene_id_column="symbol")
    opened = cellucid_dask.open_export(tmp_path / "out")
    assert opened.genes == list(adata.var["symbol"])
    np.testing.assert_array_equal(opened.gene("S3"), dense(adata[:, "gene3"].X).reshape(-1))
    assert cellucid_dask.verify(tmp_path / "out", adata, progress=False).ok


def test_an_export_that_is_not_complete(target: Path) -> None:
    (target / ".zmetadata").unlink()
    for call in (cellucid_dask.open_export, cellucid_dask.verify):
        with pytest.raises(RequestError, match=r"no complete export.*\.zmetadata"):
            call(target)


@pytest.mark.parametrize("dense_values", [False, True])
def test_an_intact_export(tmp_path: Path, dense_values: bool) -> None:
    adata = ready_anndata()
    adata.X = adata.X.toarray() + 1 if dense_values else adata.X
    cellucid_dask.export(adata, tmp_path / "out", **ZARR)
    report = cellucid_dask.verify(tmp_path / "out", adata, progress=False)
    assert report.findings == ()
    assert report.n_compared == report.n_genes == adata.n_vars
    assert report.has_checksums
    group = zarr.open_group(tmp_path / "out", mode="r")
    assert isinstance(group["X"], zarr.Array) == dense_values


def test_an_export_in_a_store_that_is_not_a_disk() -> None:
    adata = ready_anndata()
    place = "memory://zarr-export/out"
    cellucid_dask.export(adata, place, **ZARR)
    opened = cellucid_dask.open_export(place)
    np.testing.assert_array_equal(opened.gene("gene3"), dense(adata[:, "gene3"].X).reshape(-1))
    assert cellucid_dask.verify(place, adata, progress=False).ok
    assert not [path for path in fsspec.filesystem("memory").find("zarr-export") if ".cell" in path]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _rewrite(target: Path, path: str, change: Callable[[Any], Any]) -> None:
    """Change the values of an array, by the library that others use."""
    array = zarr.open_group(target, mode="a", use_consolidated=False)[path]
    array[...] = change(array[...])


def _make_graph_dense(target: Path) -> None:
    group = zarr.open_group(target, mode="a", use_consolidated=False)["obsp"]
    n_cells = len(ready_anndata())
    del group["connectivities"]
    group.create_array("connectivities", data=np.ones((n_cells, n_cells), np.float32))
    encoding = {"encoding-type": "array", "encoding-version": "0.2.0"}
    group["connectivities"].attrs.update(encoding)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a bit": (lambda t: _flip(t / "X/data/0"), "X/data/0 "),
    "a chunk": (lambda t: (t / "obsm/X_pca/0.0").unlink(), "obsm/X_pca/0.0 is missing"),
    "a file more": (lambda t: (t / "X/data/7").write_bytes(b"1"), "X/data/7 is left over"),
    "a shape": (
        lambda t: edit_json(t / "obs/depth/.zarray", lambda each: each.update(shape=[59])),
        "obs/depth/.zarray is not what .zmetadata says",
    ),
    "a value": (
        lambda t: _rewrite(t, "X/data", lambda values: values + 1),
        "X/data/0 is not the file that was written",
    ),
    "no number": (
        lambda t: _rewrite(t, "X/data", lambda values: values * np.nan),
        "X holds 144 values that are no numbers",
    ),
    "a zero": (lambda t: _rewrite(t, "X/data", lambda values: values * 0), "144 stored zeros"),
    "an order": (
        lambda t: _rewrite(t, "X/indices", lambda cells: cells[::-1]),
        "X has cells out of order",
    ),
    "a pointer": (lambda t: _rewrite(t, "X/indptr", lambda each: each[::-1]), "X: "),
    "a weight": (
        lambda t: _rewrite(t, "obsp/connectivities/data", lambda each: -each),
        "weights that are not above zero",
    ),
    "one weight": (
        lambda t: _rewrite(t, "obsp/connectivities/data", lambda each: np.append(7, each[1:])),
        "obsp/connectivities is not symmetric",
    ),
    "a loop": (
        lambda t: _rewrite(t, "obsp/connectivities/indices", lambda each: each * 0),
        "edges from a cell to itself",
    ),
    "the end of a graph": (
        lambda t: _rewrite(t, "obsp/connectivities/indptr", lambda each: each[::-1]),
        "obsp/connectivities cannot be read",
    ),
    "a code": (
        lambda t: _rewrite(t, "obs/stage/codes", lambda codes: codes + 5),
        "obs/stage cannot be read",
    ),
    "no group of graphs": (
        lambda t: (t / "obsp/.zgroup").unlink(),
        "obsp/.zgroup is missing",
    ),
    "no graph": (
        lambda t: (t / "obsp/connectivities/.zgroup").unlink(),
        "obsp/connectivities is not cells x cells",
    ),
    "a dense graph": (_make_graph_dense, "obsp/connectivities cannot be read"),
    "no checksums": (
        lambda t: (t / "checksums.sha256").unlink(),
        "checksums.sha256 is missing: cellucid-dask wrote it",
    ),
    "a blank": (
        lambda t: (t / ".zmetadata").write_text((t / ".zmetadata").read_text() + " "),
        ".zmetadata is not the file that was written",
    ),
    "a key": (
        lambda t: edit_json(t / ".zmetadata", lambda each: each.update(other=1)),
        ".zmetadata is not the file that was written",
    ),
    "coordinates": (
        lambda t: _rewrite(t, "obsm/X_umap", lambda points: points / 0),
        "obsm/X_umap is not finite",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damage_is_found(target: Path, kind: str) -> None:
    damage, words = DAMAGE[kind]
    damage(target)
    findings = cellucid_dask.verify(target, progress=False).findings
    assert any(words in each for each in findings), findings


def test_a_dense_graph_is_not_opened(target: Path) -> None:
    _make_graph_dense(target)
    with pytest.raises(ExportError, match=r"obsp/connectivities is not a sparse matrix\.$"):
        cellucid_dask.open_export(target)


def test_exports_of_others_have_no_checksums(target: Path) -> None:
    (target / "checksums.sha256").unlink()
    shutil.rmtree(target / "uns/cellucid_dask")
    edit_json(
        target / ".zmetadata",
        lambda found: found.update(
            metadata={
                path: each
                for path, each in found["metadata"].items()
                if not path.startswith("uns/cellucid_dask")
            }
        ),
    )
    report = cellucid_dask.verify(target, progress=False)
    assert report.findings == ()
    assert not report.has_checksums


def _other_gene(adata: ad.AnnData) -> None:
    adata.X[:, 4] = 2


SOURCES: dict[str, tuple[Callable[[ad.AnnData], Any], str]] = {
    "gene": (_other_gene, "X: 60 values of 'gene4' do not match the source"),
    "column": (lambda adata: adata.obs.update({"depth": adata.obs["depth"] + 1}), "obs/depth does"),
    "points": (
        lambda adata: adata.obsm["X_umap"].__imul__(2),
        "obsm/X_umap does not match the source",
    ),
}


def _other_graph(adata: ad.AnnData) -> None:
    weights = adata.obsp["connectivities"].tolil()
    weights[3, 4] = weights[4, 3] = 0.75
    adata.obsp["connectivities"] = weights.tocsr()


def _no_graph(adata: ad.AnnData) -> None:
    del adata.obsp["connectivities"]


SOURCES |= {
    "graph": (_other_graph, "obsp/connectivities does not match the source"),
    "no graph": (_no_graph, "obsp/connectivities does not match the source: obsp has no graph"),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
def test_another_source_is_noticed(target: Path, kind: str) -> None:
    change, words = SOURCES[kind]
    adata = ready_anndata()
    change(adata)
    report = cellucid_dask.verify(target, adata, progress=False)
    assert [words in each for each in report.findings] == [True], report.findings


def test_a_graph_of_another_key(tmp_path: Path) -> None:
    adata = ready_anndata()
    adata.obsp["mine"] = adata.obsp["connectivities"] * 2
    cellucid_dask.export(adata, tmp_path / "out", **{**ZARR, "connectivities": "mine"})
    assert cellucid_dask.verify(tmp_path / "out", adata, progress=False).findings == ()
    adata.obsp["mine"] = adata.obsp["connectivities"]
    (finding,) = cellucid_dask.verify(tmp_path / "out", adata, progress=False).findings
    assert finding == "obsp/connectivities does not match the source"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_graph_in_many_blocks(tmp_path: Path) -> None:
    n_cells = 30_000
    half = sparse.random(
        n_cells, n_cells, 8 / n_cells, "csr", random_state=np.random.default_rng(3)
    )
    adata = ad.AnnData(
        np.ones((n_cells, 1), np.float32), obsm={"X_umap": np.ones((n_cells, 2), np.float32)}
    )
    adata.obsp["connectivities"] = half + half.T
    source = write_h5ad(adata, tmp_path / "a.h5ad", compression=None)
    budget = {"memory_budget": "6MiB"}
    planned = [
        cellucid_dask.plan(source, **{**ZARR, "connectivities": key, **budget}).output_bytes or 0
        for key in ("connectivities", None)
    ]
    cellucid_dask.export(source, tmp_path / "out", **{**ZARR, **budget})
    sizes = [path.stat().st_size for path in (tmp_path / "out/obsp").rglob("*")]
    assert planned[0] - planned[1] == pytest.approx(sum(sizes), rel=0.1)
    report = cellucid_dask.verify(tmp_path / "out", source, progress=False, **budget)
    assert report.findings == ()
