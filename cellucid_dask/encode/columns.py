"""Tiles -> the values of genes as float32, gene after gene: sparse, with cells, or dense."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cellucid_dask.encode.tiles import DenseTile, Tile
from cellucid_dask.errors import ExportError
from cellucid_dask.types import Array

_DAMAGED = "Values that were read twice are not the same: the source changed while it was exported."
_MIN_VALUES = 2**16
_VALUE_BYTES = 4 + 4 + 2 * 8 + 8  # of a value, its cell, where both go, twice, and a copy


def group_values(n_cells: int) -> int:
    """Return how many values should be made at a time: at least those of one gene."""
    return max(n_cells, _MIN_VALUES)


def working_bytes(n_cells: int) -> int:
    """Return the memory that so many values need beside their tiles."""
    return _VALUE_BYTES * group_values(n_cells)


def dense_values(tiles: Sequence[Tile], n_cells: int) -> Array:
    """Return all values of the genes of some tiles: float32, (n_genes, n_cells)."""
    values = np.zeros((tiles[0].n_genes, n_cells), np.float32)
    for tile in tiles:
        cells = values[:, tile.first_cell : tile.first_cell + tile.n_cells]
        if isinstance(tile, DenseTile):
            np.add(tile.values, 0, out=cells, casting="unsafe")  # no negative zeros
        else:
            genes = np.repeat(np.arange(tile.n_genes), np.diff(tile.indptr))
            given = tile.values.astype(np.float32) + np.float32(0)
            cells[genes, tile.cells] = given
    return values


def sparse_values(tiles: Sequence[Tile], counts: Array) -> tuple[Array, Array]:
    """Return the values of genes that are not zero, and the cell of each, gene after gene.

    Parameters
    ----------
    tiles
        Tiles of the genes, sorted by cell.
    counts
        int64, (n_genes,): number of values of each.
    """
    ends = np.cumsum(counts)
    values, cells = np.empty(int(ends[-1]), "<f4"), np.empty(int(ends[-1]), "<i4")
    following = ends - counts
    for tile in tiles:
        given, given_cells, n_given = _non_zeros(tile)
        first = np.cumsum(n_given) - n_given
        if (following + n_given > ends).any():
            raise ExportError(_DAMAGED)
        where = np.repeat(following - first, n_given)
        where += np.arange(len(where))
        values[where] = given
        cells[where] = given_cells.astype(np.int64) + tile.first_cell
        following = following + n_given
    if (following != ends).any():
        raise ExportError(_DAMAGED)
    return values, cells


def _non_zeros(tile: Tile) -> tuple[Array, Array, Array]:
    """Return values, cells and the number of values of each gene."""
    chosen = tile.values != 0
    if isinstance(tile, DenseTile):
        flat = np.flatnonzero(chosen)
        return (
            tile.values.reshape(-1)[flat],
            flat % tile.n_cells,
            np.count_nonzero(chosen, axis=1).astype(np.int64),
        )
    indptr = np.asarray(tile.indptr, np.int64)
    if chosen.all():
        return tile.values, tile.cells, np.diff(indptr)
    before = np.concatenate(([0], np.cumsum(chosen)))
    return tile.values[chosen], tile.cells[chosen], np.diff(before[indptr])
