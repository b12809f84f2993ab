"""Tiles in scratch: their location, and reading some of their genes back.

Scratch may lie on any disk or store for hours, so what is read is compared with what was written:
there is a checksum of each gene in each tile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellucid_dask.encode.kernel_tiles import HEAD, Tiles
from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile, narrowed
from cellucid_dask.errors import ExportError
from cellucid_dask.kernel.files import read_ranges
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.types import Array

_Range = tuple[str, int, int]  # file, first byte, and the byte after the last


@dataclass(frozen=True)
class StoredTile:
    """Location of a tile in scratch, and its extent.

    A tile is stored as its head, its cells and its values. The head has the offset of each gene's
    first value and the checksum of the gene, and then the end. Of a dense tile there are no cells.

    Attributes
    ----------
    file, offset
        File of the tile, and its first byte there.
    first_cell, n_cells
        The cells that the tile covers.
    first_gene, n_genes
        The genes that it covers, as positions among the exported ones.
    n_values
        Number of stored values.
    cell_dtype, value_dtype
        numpy dtypes of cells and values; ``None`` for the cells of a dense tile.
    """

    file: str
    offset: int
    first_cell: int
    n_cells: int
    first_gene: int
    n_genes: int
    n_values: int
    cell_dtype: np.dtype[Any] | None
    value_dtype: np.dtype[Any]

    @property
    def value_nbytes(self) -> int:
        """Size of a value and its cell, in bytes."""
        return self._cell_nbytes + self.value_dtype.itemsize

    @property
    def _cell_nbytes(self) -> int:
        return 0 if self.cell_dtype is None else self.cell_dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Size in scratch, in bytes."""
        return (self.n_genes + 1) * HEAD.itemsize + self.n_values * self.value_nbytes

    def head_range(self, start: int, stop: int) -> _Range:
        """Return where the head of genes ``start ... stop - 1`` is."""
        first = self.offset + (start - self.first_gene) * HEAD.itemsize
        return self.file, first, first + (stop - start + 1) * HEAD.itemsize

    def value_ranges(self, first: int, last: int) -> tuple[_Range, _Range]:
        """Return where values are, and the cells of them, from their offsets."""
        cells = self.offset + (self.n_genes + 1) * HEAD.itemsize
        values, width = cells + self.n_values * self._cell_nbytes, self.value_dtype.itemsize
        return (
            (self.file, values + first * width, values + last * width),
            (self.file, cells + first * self._cell_nbytes, cells + last * self._cell_nbytes),
        )

    def tile(self, indptr: Array, values: Array, cells: Array) -> Tile:
        """Return the tile of some genes from their offsets and the bytes of what is stored."""
        numbers = values.view(self.value_dtype)
        if self.cell_dtype is None:
            return DenseTile(self.first_cell, numbers.reshape(-1, self.n_cells))
        numbers_of_cells = cells.view(self.cell_dtype)
        return SparseTile(self.first_cell, self.n_cells, indptr, numbers_of_cells, numbers)


def write_tiles(
    scratch: Scratch, name: str, tiles: Iterable[Tile], first_gene: int
) -> list[StoredTile]:
    """Write the tiles of one block to file `name` and return their locations.

    Parameters
    ----------
    scratch, name
        Where to write.
    tiles
        Tiles of the same genes.
    first_gene
        Position of their first gene among the exported ones.
    """
    stored: list[StoredTile] = []

    def arrays() -> Iterator[Array]:
        offset = 0
        for wide in tiles:
            tile = replace(wide, values=np.ascontiguousarray(narrowed(wide.values)))
            stored.append(_describe(tile, name, offset, first_gene))
            offset += stored[-1].nbytes
            yield _head(tile)
            if isinstance(tile, SparseTile):
                yield tile.cells
            yield tile.values

    scratch.write(name, arrays())
    return stored


def _describe(tile: Tile, file: str, offset: int, first_gene: int) -> StoredTile:
    return StoredTile(
        file=file,
        offset=offset,
        first_cell=tile.first_cell,
        n_cells=tile.n_cells,
        first_gene=first_gene,
        n_genes=tile.n_genes,
        n_values=tile.values.size,
        cell_dtype=tile.cells.dtype if isinstance(tile, SparseTile) else None,
        value_dtype=tile.values.dtype,
    )


def _head(tile: Tile) -> Array:
    head = np.zeros(tile.n_genes + 1, HEAD)
    if isinstance(tile, SparseTile):
        head["offset"] = tile.indptr
    else:
        head["offset"] = np.arange(tile.n_genes + 1) * tile.n_cells
    head["sum"][:-1] = Tiles([tile]).sums()[0]
    return head


class StoredGenes:
    """The genes of an encode task, in all the tiles that hold some of their values.

    Parameters
    ----------
    scratch, tiles
        Where they are.
    first, last
        Positions of the genes among the exported ones.

    Attributes
    ----------
    nbytes
        int64, (last - first,): bytes of each gene's values.

    Raises
    ------
    ExportError
        What is read, here or later, is not what was written.
    """

    def __init__(
        self, scratch: Scratch, tiles: Sequence[StoredTile], first: int, last: int
    ) -> None:
        self._scratch, self._tiles = scratch, sorted(tiles, key=lambda tile: tile.first_cell)
        parts = self._read([tile.head_range(first, last) for tile in self._tiles])
        heads = np.stack([part.view(HEAD) for part in parts])
        self._offsets, self._sums = heads["offset"], heads["sum"]
        counts = np.diff(self._offsets)
        limits = np.array([tile.n_values for tile in self._tiles])
        outside = (self._offsets[:, 0] < 0) | (self._offsets[:, -1] > limits)
        self._check(not outside.any() and bool((counts >= 0).all()))
        self.nbytes = np.array([tile.value_nbytes for tile in self._tiles]) @ counts

    def read(self, start: int, stop: int) -> Sequence[Tile]:
        """Read the genes ``start ... stop - 1``, counted from the first, of every tile."""
        firsts = self._offsets[:, start]
        pointers = np.ascontiguousarray(self._offsets[:, start : stop + 1] - firsts[:, None])
        bounds = zip(firsts.tolist(), self._offsets[:, stop].tolist(), strict=True)
        ranges: list[_Range] = []
        for tile, (first, last) in zip(self._tiles, bounds, strict=True):
            ranges += tile.value_ranges(first, last)
        parts = self._read(ranges)
        tiles = Tiles(
            tile.tile(*each)
            for tile, *each in zip(self._tiles, pointers, parts[::2], parts[1::2], strict=True)
        )
        self._check(np.array_equal(tiles.sums(), self._sums[:, start:stop]))
        return tiles

    def _read(self, ranges: Sequence[_Range]) -> list[Array]:
        if self._scratch.is_local:
            found = read_ranges(
                [(self._scratch.path(name), first, last) for name, first, last in ranges]
            )
            if len(found) == len(ranges):
                return found
        # of a store, or of a disk that failed: this says why
        parts = self._scratch.read_ranges(ranges)
        return [np.frombuffer(bytes(part), np.uint8) for part in parts]  # bytes are aligned

    def _check(self, same: bool) -> None:
        if not same:
            raise ExportError(
                f"Scratch at {self._scratch} is damaged: what was read there is not what was "
                "written. Name another folder with --scratch, and continue with --resume."
            )
