"""Tiles in scratch: their location, and reading some of their genes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.types import Array

_INDPTR = np.dtype("<u4")


@dataclass(frozen=True)
class StoredTile:
    """Location of a tile in scratch, and its extent.

    A sparse tile is stored as its `indptr` (uint32), cells and values, a dense one as its values.

    Attributes
    ----------
    file, offset
        File of the tile, and its first byte there.
    first_cell, n_cells
        The cells that the tile covers.
    first_gene, n_genes
        The genes that it covers, as positions among the exported ones.
    nnz
        Number of stored values; ``None`` for a dense tile.
    cell_dtype, value_dtype
        numpy dtypes of cells and values.
    """

    file: str
    offset: int
    first_cell: int
    n_cells: int
    first_gene: int
    n_genes: int
    nnz: int | None
    cell_dtype: str
    value_dtype: str

    @property
    def nbytes(self) -> int:
        """Size in scratch, in bytes."""
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_genes * self.n_cells * item
        per_value = np.dtype(self.cell_dtype).itemsize + item
        return (self.n_genes + 1) * _INDPTR.itemsize + self.nnz * per_value

    def gene_nbytes(self, indptr: Array) -> Any:
        """Return the bytes of some genes' values.

        Parameters
        ----------
        indptr
            int64, (n + 1,): offsets of the genes' values in a sparse tile, from `read_indptr`.

        Returns
        -------
        ndarray or int
            int64, (n,); for a dense tile the size that all genes have.
        """
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_cells * item
        return np.diff(indptr) * (np.dtype(self.cell_dtype).itemsize + item)


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
        for tile in tiles:
            stored.append(_describe(tile, name, offset, first_gene))
            offset += stored[-1].nbytes
            yield from _arrays(tile)

    scratch.write(name, arrays())
    return stored


def _describe(tile: Tile, file: str, offset: int, first_gene: int) -> StoredTile:
    sparse = isinstance(tile, SparseTile)
    return StoredTile(
        file=file,
        offset=offset,
        first_cell=tile.first_cell,
        n_cells=tile.n_cells,
        first_gene=first_gene,
        n_genes=tile.n_genes,
        nnz=len(tile.values) if sparse else None,
        cell_dtype=tile.cells.dtype.str if isinstance(tile, SparseTile) else "<u2",
        value_dtype=tile.values.dtype.str,
    )


def _arrays(tile: Tile) -> tuple[Array, ...]:
    if isinstance(tile, SparseTile):
        return tile.indptr.astype(_INDPTR), tile.cells, np.ascontiguousarray(tile.values)
    return (np.ascontiguousarray(tile.values),)


def read_indptr(
    scratch: Scratch, tiles: Sequence[StoredTile], start: int, stop: int
) -> list[Array]:
    """Read the offsets of genes ``start ... stop - 1``, and their end, from every tile.

    Returns
    -------
    list of ndarray
        int64, (stop - start + 1,), for each sparse tile; empty for a dense one.
    """
    ranges = []
    for tile in tiles:
        if tile.nnz is not None:
            first = tile.offset + (start - tile.first_gene) * _INDPTR.itemsize
            ranges.append((tile.file, first, first + (stop - start + 1) * _INDPTR.itemsize))
    parts = iter(scratch.read_ranges(ranges) if ranges else ())
    return [
        np.zeros(0, np.int64)
        if tile.nnz is None
        else np.frombuffer(next(parts), _INDPTR).astype(np.int64)
        for tile in tiles
    ]


def read_tiles(
    scratch: Scratch, tiles: Sequence[StoredTile], indptrs: Sequence[Array], start: int, stop: int
) -> list[Tile]:
    """Read genes ``start ... stop - 1`` of every tile.

    Parameters
    ----------
    scratch, tiles
        Where the tiles are.
    indptrs
        Result of `read_indptr` for these genes.
    start, stop
        Positions of the genes among the exported ones.
    """
    ranges = []
    for tile, indptr in zip(tiles, indptrs, strict=True):
        item = np.dtype(tile.value_dtype).itemsize
        if tile.nnz is None:
            offset = tile.offset + (start - tile.first_gene) * tile.n_cells * item
            ranges.append((tile.file, offset, offset + (stop - start) * tile.n_cells * item))
            continue
        width = np.dtype(tile.cell_dtype).itemsize
        cells = tile.offset + (tile.n_genes + 1) * _INDPTR.itemsize
        values = cells + tile.nnz * width
        first, last = int(indptr[0]), int(indptr[-1])
        ranges.append((tile.file, cells + first * width, cells + last * width))
        ranges.append((tile.file, values + first * item, values + last * item))
    parts = iter(scratch.read_ranges(ranges))
    return [
        DenseTile(
            tile.first_cell,
            np.frombuffer(next(parts), tile.value_dtype).reshape(stop - start, tile.n_cells),
        )
        if tile.nnz is None
        else SparseTile(
            tile.first_cell,
            tile.n_cells,
            indptr - indptr[0],
            np.frombuffer(next(parts), tile.cell_dtype),
            np.frombuffer(next(parts), tile.value_dtype),
        )
        for tile, indptr in zip(tiles, indptrs, strict=True)
    ]
