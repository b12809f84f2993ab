"""Cells drawn as points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cellucid_dask


@pytest.fixture
def drawing() -> Iterator[None]:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("key", ["cell_type", "score", "gene4"])
def test_plot(exported: tuple[Path, ad.AnnData], key: str, dimension: int) -> None:
    found = cellucid_dask.open_export(exported[0])
    ax = found.plot(key, dimension, s=3)

    ax.figure.canvas.draw()
    drawn = sum(np.shape(each.get_offsets())[0] for each in ax.collections)
    assert drawn == found.n_cells
    assert ax.get_title() == key
    if key == "cell_type":
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words == ["T cell", "B cell", "monocyte", "unseen"]
    else:
        values = found.obs[key] if key == "score" else found.gene(key)
        assert ax.collections[-1].colorbar.vmax == pytest.approx(np.nanmax(values))


@pytest.mark.usefixtures("drawing")
def test_the_legend_of_many_categories_stays_in_the_figure(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(80, 3, dtype="f4"),
        obs=pd.DataFrame({"many": pd.Categorical([f"type {number % 40}" for number in range(80)])}),
        obsm={"X_umap": np.eye(80, 2)},
    )
    cellucid_dask.export(adata, tmp_path / "out", progress=False)
    ax = cellucid_dask.open_export(tmp_path / "out").plot("many")

    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert len(legend.get_texts()) == 40
    assert legend.get_window_extent().height < ax.figure.bbox.height


def test_plot_without_matplotlib(
    exported: tuple[Path, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    found = cellucid_dask.open_export(exported[0])
    with pytest.raises(cellucid_dask.RequestError, match=r"cellucid-dask\[plot\]"):
        found.plot("score")
    with pytest.raises(cellucid_dask.RequestError, match="2 or 3"):
        found.plot("score", 1)
