"""Drawing cells as colored points with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellucid_dask.errors import RequestError
from cellucid_dask.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MISSING = "lightgrey"
_MAX_IN_LEGEND = 40
_MAX_PANELS = 4  # side by side
_LEGEND_ROWS = 16  # that fit beside a figure of matplotlib's default height


def scatter(
    points: Array, values: Any, title: str, ax: Axes | None, options: Mapping[str, Any]
) -> Axes:
    """Draw points colored by values: categories with a legend, numbers with a color bar.

    Parameters
    ----------
    points
        (n_cells, 2) or (n_cells, 3).
    values
        Categories or numbers, (n_cells,); cells without one are gray and behind the others.
    title
        Of the axes.
    ax
        The axes to draw on; those of a new figure by default.
    options
        Passed on to ``Axes.scatter``.

    Raises
    ------
    RequestError
        matplotlib is not installed.
    """
    plt = _pyplot()
    if ax is None:
        ax = plt.subplots(subplot_kw=_projection(points), layout="constrained")[1]
    style = {
        "s": float(np.clip(120_000 / max(len(points), 1), 0.1, 20)),
        "linewidths": 0,
        **options,
    }
    missing = np.asarray(pd.isna(values))
    if missing.any():
        ax.scatter(*points[missing].T, **(style | {"c": _MISSING}))
    if isinstance(values, pd.Categorical):
        _draw_categories(ax, points, values, style)
    else:
        numbers = np.asarray(values)
        order = np.argsort(numbers, kind="stable")[: int((~missing).sum())]  # the highest in front
        shown = ax.scatter(*points[order].T, **(style | {"c": numbers[order]}))
        ax.figure.colorbar(shown, ax=ax)
    ax.set_title(title, parse_math=False)
    ax.set(xticks=[], yticks=[])
    return ax


def panels(points: Array, values: Mapping[str, Any], options: Mapping[str, Any]) -> Figure:
    """Draw a panel for each key, as `scatter` does; return the figure."""
    n_columns = min(len(values), _MAX_PANELS)
    n_rows = -(-len(values) // n_columns)
    figure, axes = _pyplot().subplots(
        n_rows, n_columns, figsize=(4.5 * n_columns, 3.8 * n_rows),
        subplot_kw=_projection(points), layout="constrained", squeeze=False,
    )  # fmt: skip
    for ax, (key, each) in zip(axes.flat, values.items(), strict=False):
        scatter(points, each, key, ax, options)
    for ax in list(axes.flat)[len(values) :]:
        ax.remove()
    return figure  # type: ignore[no-any-return]


def quantization(gene: str, stored: Array, values: Any) -> Figure:
    """Draw the values of a gene before and after quantization, and the error of each."""
    source = np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float64)
    if source.size != len(stored):
        raise RequestError(
            f"{source.size:,} values of {gene!r} are given, but the export has {len(stored):,} "
            "cells: give those of all cells, such as adata[:, gene].X."
        )
    both = np.isfinite(source.ravel()) & np.isfinite(stored)
    before, after = source.ravel()[both], stored[both].astype(np.float64)
    error = after - before
    figure, (left, right) = _pyplot().subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    low, high = (before.min(), before.max()) if len(before) else (0.0, 1.0)
    bins = np.linspace(low, high if high > low else low + 1, 60)
    left.hist(before, bins, label="source", color="lightgrey")
    left.hist(after, bins, label=f"{len(np.unique(after)):,} values stored", histtype="step")
    left.set(yscale="log", xlabel="value", ylabel="cells")
    left.set_title(gene, parse_math=False)
    left.legend(frameon=False)
    right.plot(before, error, ".", markersize=2)
    right.set(xlabel="value in the source", ylabel="error")
    right.set_title(f"error at most {np.abs(error).max(initial=0):.3g}")
    return figure  # type: ignore[no-any-return]


def _projection(points: Array) -> dict[str, str | None]:
    return {"projection": "3d" if points.shape[1] == 3 else None}


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415  optional
    except ImportError:
        raise RequestError('Plots need matplotlib: pip install "cellucid-dask[plot]".') from None
    return plt


def _draw_categories(ax: Any, points: Array, values: pd.Categorical, style: dict[str, Any]) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    number = len(values.categories)
    palette = mpl.colormaps["tab10" if number <= 10 else "tab20" if number <= 20 else "hsv"]
    colors = palette(np.arange(number) if number <= 20 else np.linspace(0, 1, number + 1)[:-1])
    present = values.codes >= 0
    ax.scatter(*points[present].T, **(style | {"c": colors[values.codes[present]]}))
    handles = [
        mpl.lines.Line2D([], [], marker="o", linestyle="", color=color, label=_plain(name))
        for name, color in zip(values.categories[:_MAX_IN_LEGEND], colors, strict=False)
    ]
    if handles:
        ax.legend(
            handles=handles,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            frameon=False,
            ncols=-(-len(handles) // _LEGEND_ROWS),
        )


def _plain(name: str) -> str:
    """Escape a label that matplotlib would take for mathematics, or leave out."""
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
