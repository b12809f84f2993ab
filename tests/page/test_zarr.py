"""An export as cellucid-zarr is shown as one as compact_v1 whose values are not quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import cellucid_dask
from cellucid_dask.read.serve import Server
from cellucid_dask.store.target import Target
from tests.page.looking import Looker, Site, pixels, until

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
