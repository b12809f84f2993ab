"""An export as cellucid-zarr is shown as one as compact_v1 whose values are not quantized."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.read.serve import Server
from cellucid_dask.store.target import Target
from tests.page.looking import Looker, Site, go, pixels, table, until

pytestmark = pytest.mark.xdist_group("page")


def export(target: Path, adata: ad.AnnData, **settings: Any) -> Path:
    cellucid_dask.export(
        adata, target, format="cellucid-zarr", embeddings=["X_umap", "X_pca", "X_time"],
        dataset_name="The store", progress=False, **settings,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def stores(site: Site, atlas: ad.AnnData) -> Path:
    """Return the site, with two stores: of a sparse and of a dense matrix."""
    adata = atlas.copy()
    adata.obs["flag"] = adata.obs["score"] > 0
    export(site.root / "sparse", adata, gene_identifiers=["CD3D", "LYZ"])
    export(site.root / "dense", adata)
    assert (site.root / "sparse/X/data/0").exists()
    assert (site.root / "dense/X/0.0").exists()
    return site.root


@pytest.mark.parametrize("name", ["sparse", "dense"])
@pytest.mark.parametrize(
    "state", [{"obs": "cell_type"}, {"obs": "score"}, {"gene": "LYZ"}, {"gene": "CD3D", "dim": 2}]
)
def test_the_picture_is_the_same(
    look: Looker, stores: Path, name: str, state: dict[str, object]
) -> None:
    assert (stores / "None").is_dir()
    plain, page = look("None", **state, labels=False), look(name, **state, labels=False)
    assert (pixels(page) != pixels(plain)).any(-1).mean() < 0.002
    assert page.inner_text("#name") == "The store"


@pytest.mark.parametrize(
    ("name", "genes"), [("large-sparse", ["CD3D", "LYZ"]), ("large-dense", None)]
)
def test_counts_beyond_float32_look_the_same(
    look: Looker, site: Site, atlas: ad.AnnData, name: str, genes: list[str] | None
) -> None:
    adata = atlas.copy()
    adata.X = np.rint(adata.X * 2.0**23).astype("int64")
    target = export(site.root / name, adata, gene_identifiers=genes)
    array = "X/data" if name == "large-sparse" else "X"
    assert json.loads((target / array / ".zarray").read_text())["dtype"] == "<f8"
    plain = site.root / f"{name}-plain"
    cellucid_dask.export(
        adata, plain, var_quantization=None, gene_identifiers=genes, progress=False,
        embeddings=["X_umap", "X_pca", "X_time"],
    )  # fmt: skip
    found, expected = (look(each.name, gene="LYZ", labels=False) for each in (target, plain))
    assert (pixels(found) != pixels(expected)).any(-1).mean() < 0.002


def test_what_can_be_chosen(look: Looker, stores: Path) -> None:
    assert (stores / "dense").is_dir()
    page = look("dense")
    assert page.inner_text("#count") == "300 cells · 4 genes"
    page.fill("#query", "flag")
    page.press("#query", "Enter")
    until(page, "document.querySelectorAll('#legend li').length === 2")
    names = [each.inner_text() for each in page.locator("#legend li").all()]
    assert [name.split("\n")[0] for name in names] == ["False", "True"]
    page.fill("#query", "MS4A1")
    page.press("#query", "Enter")
    until(page, "document.querySelector('#bar h2')?.textContent === 'MS4A1'")


def test_by_our_own_server_and_by_the_command(
    look: Looker, tmp_path: Path, atlas: ad.AnnData
) -> None:
    target = export(tmp_path / "out", atlas, page=False)
    server = Server(Target.of(target)).start()
    try:
        page = look(server.url)
        assert page.inner_text("#count") == "300 cells · 4 genes"
        assert not (target / "index.html").exists()
    finally:
        server.close()
    from cellucid_dask.read.page import add_page

    add_page(target)
    assert b'content="zarr"' in (target / "index.html").read_bytes()
    assert cellucid_dask.verify(target, progress=False).ok


def test_a_damaged_store_is_said(look: Looker, stores: Path, site: Site, atlas: ad.AnnData) -> None:
    assert stores == site.root
    target = export(site.root / "damaged", atlas)
    (target / "obsm/X_umap/0.0").write_bytes(b"no zlib")
    page = look("damaged", expect="failed", dim=2, allow="Failed|net::")
    assert "obsm/X_umap/0.0 is damaged" in page.inner_text("#message")
    assert np.isfinite(cellucid_dask.open_export(target).gene("LYZ")).all()


@pytest.fixture(scope="module")
def overlaid(site: Site, atlas: ad.AnnData) -> Path:
    """Return the site, with an export of both formats that has a graph and a vector field."""
    adata = atlas.copy()
    ends = np.random.default_rng(6).integers(0, adata.n_obs, (2, 900))
    half = sparse.coo_matrix((np.ones(900), ends), (adata.n_obs, adata.n_obs)).tocsr()
    adata.obsp["connectivities"] = half + half.T
    adata.obsm["velocity_umap"] = adata.obsm["X_umap"][:, ::-1] * [1, -1]
    more = {"connectivities": "connectivities", "vector_fields": ["velocity_umap"]}
    export(site.root / "over-zarr", adata, **more)
    cellucid_dask.export(
        adata, site.root / "over-plain", embeddings=["X_umap", "X_pca", "X_time"],
        var_quantization=None, progress=False, cell_ids=True, **more,
    )  # fmt: skip
    return site.root


@pytest.mark.parametrize("state", [{"graph": 1}, {"field": "velocity_umap"}])
def test_overlays_are_the_same(look: Looker, overlaid: Path, state: dict[str, object]) -> None:
    assert (overlaid / "over-zarr").is_dir()
    drawn = []
    for name in ("over-plain", "over-zarr"):
        page = look(name, dim=2, obs="cell_type", labels=0)
        bare = pixels(page), pixels(page, "labels")
        go(page, dim=2, obs="cell_type", labels=0, **state)
        found = pixels(page), pixels(page, "labels")
        assert any((one != other).any() for one, other in zip(bare, found, strict=True))
        drawn.append(found)
    for plain, found in zip(*drawn, strict=True):
        assert (plain != found).any(-1).mean() < 0.002


def test_names_of_categories_lie_at_the_mean_of_their_cells(look: Looker, overlaid: Path) -> None:
    assert (overlaid / "over-zarr").is_dir()
    boxes = []
    for name in ("over-plain", "over-zarr"):
        page = look(name, dim=2, obs="donor")
        until(page, "true")
        rows, columns = np.nonzero(pixels(page, "labels").any(-1))
        boxes.append([rows.min(), rows.max(), columns.min(), columns.max()])
    np.testing.assert_allclose(*boxes, atol=60)  # the other leaves the farthest cells out


def test_selected_cells_have_their_names(look: Looker, overlaid: Path, atlas: ad.AnnData) -> None:
    assert (overlaid / "over-zarr").is_dir()
    tables = []
    for name in ("over-plain", "over-zarr"):
        page = look(name, dim=2, panel="select", lasso="1_2_0_0_0_0_-1_-1_1_-1_1_1_-1_1")
        tables.append(table(page, "#analysis button:text-is('CSV of the cells')"))
    assert len(tables[0]) > 20
    assert tables[0] == tables[1]
    assert {row["name"] for row in tables[1]} <= set(atlas.obs_names)


def test_a_catalog_of_both_formats(look: Looker, site: Site, atlas: ad.AnnData) -> None:
    root = site.root / "both"
    export(root / "store", atlas, page=False)
    cellucid_dask.export(atlas[:100].copy(), root / "plain", dataset_name="Files", progress=False)
    cellucid_dask.catalog(root, default="Files")
    page = look("both")
    assert page.inner_text("#name") == "Files"
    page.select_option("#datasets", "The_store")
    until(page, "document.querySelector('#count')?.textContent.startsWith('300 cells')")
    assert page.inner_text("#name") == "The store"
