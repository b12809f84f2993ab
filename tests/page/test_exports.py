"""Exports of every kind: each opens, and what it has can be looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import cellucid_dask
from tests.helpers import edit_json
from tests.page.looking import Looker, Site, alone, at, drawn, go, pixels, places, some, until

pytestmark = pytest.mark.xdist_group("page")

ODD = [
    "a/b",
    "μ-gene",
    "<img src=x onerror=alert(1)>",
    "50% #1?",
    "..x",
    "{ext}",
    "$&y",
    "A&B=C;D",
    '"q"',
]


def make(site: Site, name: str, adata: ad.AnnData, **settings: Any) -> Path:
    target = site.root / name
    cellucid_dask.export(adata, target, progress=False, dataset_name=f"The {name}", **settings)
    return target


def drop_genes(target: Path) -> None:
    """Leave an export as one of a viewer that has fields alone."""
    shutil.rmtree(target / "var")
    (target / "var_manifest.json").unlink()
    edit_json(target / "dataset_identity.json", lambda one: one["stats"].update(n_genes=0))


def gene_of(page: Any, query: str) -> None:
    """Choose the first thing of that name."""
    page.fill("#query", query)
    page.press("#query", "Enter")
    until(page, f"document.querySelector('#bar h2')?.textContent === {json.dumps(query)}")


def test_without_genes(look: Looker, site: Site) -> None:
    drop_genes(make(site, "geneless", some(60, ["g"], kind=["a", "b"] * 30)))
    page = look("geneless")
    assert page.inner_text("#count") == "60 cells · 0 genes"
    assert drawn(page) > 60
    assert page.locator("#legend li").count() == 2
    page.fill("#query", "CD3D")
    assert "Nothing of that name" in page.inner_text("#found")


def test_without_obs(look: Looker, site: Site) -> None:
    make(site, "bare", some(60, ["g"]), obs_keys=[])
    page = look("bare")
    assert page.is_hidden("#legend")
    assert drawn(page) > 60
    gene_of(page, "g")
    assert page.inner_text("#bar h2") == "g"
    for name, title in [("Compare", "no field of categories"), ("Select", "Nothing is selected")]:
        page.click(f"#tools button:text-is('{name}')")
        until(page, f"document.querySelector('#analysis').textContent.includes('{title}')")


def test_positions_alone(look: Looker, site: Site) -> None:
    drop_genes(make(site, "nothing", some(30, ["g"]), obs_keys=[]))
    page = look("nothing")
    assert drawn(page) > 30
    for name in ["Compare", "Select", "+ Panel"]:
        page.click(f"#tools button:text-is('{name}')")
        until(page, "true")


def test_one_cell(look: Looker, site: Site) -> None:
    target = make(site, "single", some(1, ["g"], kind=["only"], score=[1.5]))
    page = look("single", gene="g", labels=0)
    assert page.inner_text("#count") == "1 cells · 1 genes"
    (color,) = at(pixels(page), places(page, target))
    assert tuple(color) != (255, 255, 255)
    go(page, obs="score")
    assert page.inner_text("#bar h2") == "score"
    go(page, obs="kind", panel="spread")
    assert drawn(page) > 1


@pytest.mark.filterwarnings("ignore")
def test_names_of_any_characters(look: Looker, site: Site) -> None:
    target = make(site, "odd", some(50, ODD, **{"cell type (β) #2": ["x", "<b>y</b>"] * 25}))
    page = look("odd", labels=0)
    assert "<b>y</b>" in page.inner_text("#legend")
    assert page.inner_text("#legend option") == "cell type (β) #2"
    adata = cellucid_dask.open_export(target)
    for gene in ODD:
        gene_of(page, gene)
        again = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('gene')")
        assert again == gene
    assert len(adata.genes) == len(ODD)


def test_many_categories(look: Looker, site: Site) -> None:
    random = np.random.default_rng(2)
    names = [f"clone {i:03}" for i in range(700)]
    clones = random.choice(names, 4000)
    target = make(site, "many", some(4000, ["g"], clone=clones), centroid_min_points=3)
    page = look("many", obs="clone", labels=0, size=0.3)
    assert page.locator("#legend li").count() == 300
    known = sorted(set(clones))
    assert f"{len(known) - 300} more" in page.inner_text("#legend")
    page.fill("#legend input", known[-1])
    until(page, "document.querySelectorAll('#legend li').length === 1")
    assert page.inner_text("#legend small") == str((clones == known[-1]).sum())
    page.hover("#legend li")
    page.click("#legend .only")
    until(page, f"location.hash.includes('hide=0-{len(known) - 2}')")
    page.mouse.move(600, 630)
    where = places(page, target)
    cells = alone(where, 5)
    shown = (at(pixels(page), where[cells]) != 255).any(-1)
    np.testing.assert_array_equal(shown, clones[cells] == known[-1])


def test_a_gene_without_any_value(look: Looker, site: Site) -> None:
    adata = some(40, ["none", "flat", "g"], kind=["a", "b"] * 20)
    adata.X[:, 0] = np.nan
    adata.X[:, 1] = 3
    for bits in 8, None:
        make(site, f"void{bits}", adata, var_quantization=bits)
        page = look(f"void{bits}", gene="none", labels=0)
        assert "40 cells without a value" in page.inner_text("#bar")
        assert drawn(page) > 40
        go(page, gene="flat", panel="spread")
        assert page.inner_text("#bar .ends span").strip() == "3"


def test_the_address_takes_other_names_of_genes(look: Looker, site: Site) -> None:
    adata = some(60, ["ENSG01", "ENSG02", "CD8A"], kind=["a", "b"] * 30)
    adata.var["symbol"] = ["CD3D", "CD8A", "MS4A1"]
    make(site, "aliased", adata, gene_aliases="symbol")
    page = look("aliased", gene="CD3D")
    assert page.inner_text("#bar h2") == "CD3D (ENSG01)"
    go(page, gene="ms4a1", **{"with": "gene/cd3d"})
    assert page.inner_text("#bar h2") == "MS4A1 (CD8A)"
    assert page.locator(".head").all_inner_texts()[1].startswith("CD3D (ENSG01)")
    assert page.locator("#recent [aria-pressed=true]").all_inner_texts() == ["MS4A1"]
    go(page, gene="CD8A")  # an id before another's symbol
    assert page.inner_text("#bar h2") == "MS4A1 (CD8A)"
    go(page, gene="CD4")
    assert "no gene “CD4”" in page.inner_text("#notice")
