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


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("key", ["score", "gene4"])
def test_high_values_are_drawn_last_and_missing_ones_first(
    exported: tuple[Path, ad.AnnData], key: str
) -> None:
    found = cellucid_dask.open_export(exported[0])
    values = found.obs[key].to_numpy() if key == "score" else found.gene(key)
    *missing, shown = found.plot(key).collections
    drawn = np.asarray(shown.get_array())
    assert (np.diff(drawn) >= 0).all()
    assert len(missing) == int(np.isnan(values).any())
    points = found.points(2)
    at = {tuple(point): value for point, value in zip(points, values, strict=True)}
    assert [at[tuple(point)] for point in shown.get_offsets().astype("f4")] == list(drawn)


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(("keys", "dimension"), [(["gene4", "cell_type"], 2), (["gene1"] * 5, 3)])
def test_several_keys_are_panels_of_a_figure(
    exported: tuple[Path, ad.AnnData], keys: list[str], dimension: int
) -> None:
    wanted = [f"gene{i}" for i in range(5)] if len(keys) == 5 else keys
    figure = cellucid_dask.open_export(exported[0]).plot(wanted, dimension, s=2)
    figure.canvas.draw()
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == wanted


@pytest.mark.usefixtures("drawing")
def test_what_cannot_be_drawn(exported: tuple[Path, ad.AnnData]) -> None:
    found = cellucid_dask.open_export(exported[0])
    with pytest.raises(cellucid_dask.RequestError, match="nothing to draw"):
        found.plot([])
    with pytest.raises(cellucid_dask.RequestError, match=r"no gene 'gene_4'.*gene4"):
        found.plot(["score", "gene_4"])
    with pytest.raises(cellucid_dask.RequestError, match="3 values of 'gene4' are given"):
        found.plot_quantization("gene4", [1, 2, 3])


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_quantization(exported: tuple[Path, ad.AnnData], form: str) -> None:
    target, adata = exported
    found = cellucid_dask.open_export(target)
    values = adata[:, "gene4"].X
    figure = found.plot_quantization("gene4", values if form == "sparse" else values.toarray())
    figure.canvas.draw()
    _, right = figure.axes
    before, error = right.lines[0].get_data()
    expected = values.toarray().ravel()
    assert np.allclose(before, expected)
    assert np.allclose(error, found.gene("gene4") - expected)
    assert f"{np.abs(error).max():.3g}" in right.get_title()
