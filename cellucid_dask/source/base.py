"""The protocol that every source of cells implements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from cellucid_dask.source.matrix import Matrix, Sliceable
from cellucid_dask.source.table import Table


@runtime_checkable
class Source(Protocol):
    """An AnnData, of which as little as possible is read, as late as possible.

    One in files also has a ``location``, and a ``state()`` that changes when they do. Where a
    store does not list its files, iterating over `layers`, `obsm_widths` or `obsp_keys` raises a
    `RequestError`; asking for a name does not.

    Attributes
    ----------
    name
        A short name for messages, and for a data set that is given none.
    n_cells
        Number of observations.
    layers
        Those of ``"X"``, ``"raw"`` and the names of layers that exist.
    obs_keys
        Column names of obs.
    obsm_widths
        Number of columns of each matrix in obsm.
    obsp_keys
        Names of the matrices in obsp.
    """

    name: str
    n_cells: int

    @property
    def layers(self) -> Collection[str]: ...  # noqa: D102
    @property
    def obs_keys(self) -> list[str]: ...  # noqa: D102
    @property
    def obsm_widths(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def obsp_keys(self) -> Collection[str]: ...  # noqa: D102

    def obs(self, key: str) -> Any:
        """Read one column of obs: an array or Series, or text to be read a slice at a time.

        Raises
        ------
        UnreadableError
            It cannot be read, as others may be.
        """

    def cell_ids(self) -> Sequence[str]:
        """Read the names of the cells."""

    def obsm(self, key: str) -> Sliceable:
        """Open one array of obsm, to be read by slices of rows."""

    def obsp(self, key: str) -> Matrix | None:
        """Open one matrix of obsp, cells x cells; ``None`` if it is stored as empty."""

    def var(self, layer: str) -> Table:
        """Open the var table that goes with a layer."""

    def matrix(self, layer: str) -> Matrix | None:
        """Open the matrix of a layer; ``None`` if it is stored as empty."""

    def fingerprint(self, layer: str) -> str:
        """Return a digest that changes when the source of a layer does."""
