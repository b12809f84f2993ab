"""One browser, and exports to look at, which are made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cellucid_dask
from tests.helpers import read_source
from tests.page.looking import CELLS, CHROMIUM, KINDS, QUANTIZATIONS, VIEWPORT, Looker, Site


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader",
                "--ignore-gpu-blocklist",
            ],
        )
        yield made
        made.close()


@pytest.fixture(scope="package")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # noqa: ARG001
    """Return a folder that is served; not made where there is no browser."""
    with Site(tmp_path_factory.mktemp("site")).running() as made:
        yield made


@pytest.fixture(scope="package")
def atlas() -> ad.AnnData:
    random = np.random.default_rng(5)
    kinds = pd.Categorical(random.choice(np.array([*KINDS, None], object), CELLS), KINDS)
    genes = random.gamma(2.0, 1.0, (CELLS, 4)) * (random.random((CELLS, 4)) < [0.2, 0.5, 0.9, 1])
    genes[:, 2] -= 2  # centered
    genes[:, 3] += 1  # everywhere
    score = random.normal(size=CELLS)
    score[::7] = np.nan
    return ad.AnnData(
        genes.astype(np.float32),
        obs=pd.DataFrame(
            {"cell_type": kinds, "donor": random.choice(["d1", "d2"], CELLS), "score": score},
            index=[f"cell-{i}" for i in range(CELLS)],
        ),
        var=pd.DataFrame(index=["CD3D", "LYZ", "MS4A1", "NKG7"]),
        obsm={
            "X_umap": random.uniform(-1, 1, (CELLS, 2)),
            "X_pca": random.normal(size=(CELLS, 3)),
            "X_time": random.uniform(size=(CELLS, 1)),
        },
    )


@pytest.fixture(scope="package")
def exports(atlas: ad.AnnData, site: Site) -> Path:
    """Return the folder of the atlas's exports: 8, 16 and None are their bits."""
    for bits in QUANTIZATIONS:
        cellucid_dask.export(
            atlas,
            site.root / str(bits),
            var_quantization=bits,
            obs_continuous_quantization=bits,
            compression=None if bits is None else 6,
            embeddings=["X_umap", "X_pca", "X_time"],
            cell_ids=bits == 8,
            dataset_name=f"Atlas of {bits} bits",
            progress=False,
        )
    return site.root


@pytest.fixture(scope="package")
def pbmc(site: Site, shared_data: Path) -> tuple[Path, ad.AnnData]:
    """Return the export of real cells, by their raw matrix and with a graph; and their source."""
    source = shared_data / "pbmc68k_reduced.h5ad"
    target = site.root / "pbmc"
    cellucid_dask.export(
        source, target, layer="raw", connectivities="connectivities", progress=False
    )
    return target, read_source(source)


@pytest.fixture(scope="package")
def shared(browser: Any) -> Any:
    """Return the context of all pages that need none of their own; it ends with the browser."""
    return browser.new_context(viewport=VIEWPORT)


@pytest.fixture
def look(shared: Any, site: Site, exports: Path) -> Iterator[Looker]:  # noqa: ARG001
    """Open exports of the site; nothing may go wrong meanwhile."""
    made = Looker(shared, site.url)
    yield made
    made.close()
    assert not made.wrong
