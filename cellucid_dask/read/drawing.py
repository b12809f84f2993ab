"""The plots of an open export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

import pandas as pd

from cellucid_dask.errors import RequestError
from cellucid_dask.read.known import check_known
from cellucid_dask.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Arrays(Protocol):
    """What is drawn of an export."""

    @property
    def genes(self) -> list[str]: ...
    @property
    def obs(self) -> pd.DataFrame: ...
    def gene(self, name: str) -> Array: ...
    def points(self, dimension: int = 2) -> Array: ...


class Drawing:
    """Plots of an export, by matplotlib."""

    @overload
    def plot(
        self, key: str, dimension: int = 2, *, ax: Axes | None = None, **options: Any
    ) -> Axes: ...
    @overload
    def plot(self, key: Sequence[str], dimension: int = 2, **options: Any) -> Figure: ...
    def plot(
        self: Any, key: Any, dimension: int = 2, *, ax: Axes | None = None, **options: Any
    ) -> Axes | Figure:
        """Draw the cells, colored by an obs field or else a gene, high values in front.

        Parameters
        ----------
        key
            Name of the obs field or gene, or several: each gets a panel of its own.
        dimension
            2 or 3.
        ax
            The axes to draw one key on; those of a new figure by default.
        **options
            Passed on to matplotlib's ``Axes.scatter``, such as ``s`` and ``cmap``.

        Returns
        -------
        Axes or Figure
            The axes of one key, whose ``figure`` is theirs; the figure of several.

        Raises
        ------
        RequestError
            There is no such key or embedding, or matplotlib is not installed.
        """
        from cellucid_dask.read import plot  # noqa: PLC0415  matplotlib is optional

        if dimension not in (2, 3):
            raise RequestError(f"A plot has 2 or 3 dimensions, not {dimension!r}.")
        keys = [key] if isinstance(key, str) else list(key)
        if not keys:
            raise RequestError("There is nothing to draw: name obs fields or genes.")
        values = _values(self, keys)
        if isinstance(key, str):
            return plot.scatter(self.points(dimension), values[key], key, ax, options)
        return plot.panels(self.points(dimension), values, options)

    def plot_quantization(self: Any, gene: str, values: Any) -> Figure:
        """Draw what storing a gene in 8 or 16 bits does to its values.

        Parameters
        ----------
        gene
            Its name.
        values
            Those of the source, (n_cells,), such as ``adata[:, gene].X``; sparse or dense.

        Returns
        -------
        Figure
            The distribution of the values before and after, and the error of each.

        Raises
        ------
        RequestError
            There is no such gene, there are not as many values as cells, or matplotlib is not
            installed.
        """
        from cellucid_dask.read import plot  # noqa: PLC0415  matplotlib is optional

        return plot.quantization(gene, self.gene(gene), values)


def _values(export: _Arrays, keys: Sequence[str]) -> dict[str, Any]:
    obs = export.obs
    check_known([key for key in keys if key not in obs], export.genes)
    return {key: obs[key].array if key in obs else export.gene(key) for key in keys}
