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

_MISSING = "lightgrey"
_MAX_IN_LEGEND = 40
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
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415  optional
    except ImportError:
        raise RequestError('Plots need matplotlib: pip install "cellucid-dask[plot]".') from None
    if ax is None:
        projection = "3d" if points.shape[1] == 3 else None
        ax = plt.subplots(subplot_kw={"projection": projection}, layout="constrained")[1]
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
        numbers = np.asarray(values)[~missing]
        shown = ax.scatter(*points[~missing].T, **(style | {"c": numbers}))
        ax.figure.colorbar(shown, ax=ax)
    ax.set_title(title, parse_math=False)
    ax.set(xticks=[], yticks=[])
    return ax


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
