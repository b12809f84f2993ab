"""Tiles as the kernel takes them, and checksums of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import POINTER, byref, cast
from typing import Self, overload

import numpy as np

from cellucid_dask.encode.tiles import DenseTile, Tile
from cellucid_dask.kernel.library import (
    GenesStruct,
    TileStruct,
    address,
    checked,
    library,
    value_type,
)
from cellucid_dask.types import Array

DAMAGED = "Values read before are damaged, in memory or in scratch: export again, with --resume."
# What is stored with a tile for each gene, and for the end: the offset of its values, its checksum.
HEAD = np.dtype([("offset", "<i8"), ("sum", "<u8")])


class Tiles(Sequence[Tile]):
    """Tiles of the same genes, sorted by cell, and the kernel's table of them.

    Parameters
    ----------
    tiles
        In any order.

    Attributes
    ----------
    n_genes
        Number of genes that each covers.
    """

    def __init__(self, tiles: Iterable[Tile]) -> None:
        self._tiles = sorted(tiles, key=lambda tile: tile.first_cell)
        self.n_genes = self._tiles[0].n_genes
        self._held: list[Array | None] = []  # what the table points to
        self._table = np.array([self._row(tile) for tile in self._tiles], np.dtype(TileStruct))

    @classmethod
    def of(cls, tiles: Sequence[Tile]) -> Self:
        """Return the tiles, with the table of before if they have one."""
        return tiles if isinstance(tiles, cls) else cls(tiles)

    def __len__(self) -> int:
        return len(self._tiles)

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | Sequence[Tile]:
        return self._tiles[index]

    def _row(self, tile: Tile) -> tuple[int | None, ...]:
        values, cells, indptr = np.ascontiguousarray(tile.values), None, None
        if not isinstance(tile, DenseTile):
            cells = np.ascontiguousarray(tile.cells)
            indptr = np.ascontiguousarray(tile.indptr, np.int64)
        number = value_type(values.dtype)
        if number is None or tile.n_genes != self.n_genes:
            raise ValueError("tiles of different genes, or of a dtype that float32 does not hold")
        self._held += [values, cells, indptr]
        return (
            tile.first_cell,
            tile.n_cells,
            values.size if cells is None else min(values.size, cells.size),
            address(indptr) or 0,
            address(cells) or 0,
            address(values),
            0 if cells is None else cells.itemsize,
            number,
        )

    def struct(self, n_cells: int) -> GenesStruct:
        """Return the kernel's structure of the genes, of which each has `n_cells` values."""
        rows = cast(self._table.ctypes.data, POINTER(TileStruct))
        return GenesStruct(rows, len(self), self.n_genes, n_cells)

    def sums(self) -> Array:
        """Return a checksum of cells and values of each gene: uint64, (n_tiles, n_genes)."""
        n_cells = self._tiles[-1].first_cell + self._tiles[-1].n_cells
        sums = np.empty((len(self), self.n_genes), np.uint64)
        checked(library().cellucid_sums(byref(self.struct(n_cells)), address(sums)), DAMAGED)
        return sums
