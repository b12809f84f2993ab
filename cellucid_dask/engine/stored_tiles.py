"""Tiles in scratch: their location, and reading some of their genes back.

Scratch may lie on any disk or store for hours, so what is read is compared with what was written:
of each tile there are three checksums (CRC-32) for the genes of every encode task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from deflate import crc32

from cellucid_dask.encode.tiles import DenseTile, SparseTile, Tile, narrowed
from cellucid_dask.errors import ExportError
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.types import Array

_INDPTR = _SUMS = np.dtype("<u4")
_SUMS_BYTES = 3 * _SUMS.itemsize
_Range = tuple[str, int, int]  # file, first byte, and the byte after the last


@dataclass(frozen=True)
class StoredTile:
    """Location of a tile in scratch, and its extent.

    A sparse tile is stored as its `indptr` (uint32), cells and values, a dense one as its values;
    then come the checksums: uint32, (n_cuts, 3), of `indptr`, cells and values.

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
    n_cuts
        Number of encode tasks that its genes are for.
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
    n_cuts: int

    @property
    def nbytes(self) -> int:
        """Size in scratch, in bytes."""
        return self._sums_offset - self.offset + self.n_cuts * _SUMS_BYTES

    @property
    def _sums_offset(self) -> int:
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.offset + self.n_genes * self.n_cells * item
        per_value = np.dtype(self.cell_dtype).itemsize + item
        return self.offset + (self.n_genes + 1) * _INDPTR.itemsize + self.nnz * per_value

    def sums_range(self, cut: int) -> _Range:
        """Return where the checksums of an encode task's genes are."""
        first = self._sums_offset + cut * _SUMS_BYTES
        return self.file, first, first + _SUMS_BYTES

    def indptr_range(self, start: int, stop: int) -> _Range:
        """Return where the offsets of genes ``start ... stop - 1`` of a sparse tile are."""
        first = self.offset + (start - self.first_gene) * _INDPTR.itemsize
        return self.file, first, first + (stop - start + 1) * _INDPTR.itemsize

    def value_ranges(self, start: int, stop: int, indptr: Array) -> list[_Range]:
        """Return where cells and values of genes are, of a dense tile only values.

        `indptr` has the offsets of the genes of a sparse tile, (stop - start + 1,).
        """
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            offset, nbytes = self.offset, self.n_cells * item
            first = offset + (start - self.first_gene) * nbytes
            return [(self.file, first, first + (stop - start) * nbytes)]
        width = np.dtype(self.cell_dtype).itemsize
        cells = self.offset + (self.n_genes + 1) * _INDPTR.itemsize
        values = cells + self.nnz * width
        first, last = int(indptr[0]), int(indptr[-1])
        return [
            (self.file, cells + first * width, cells + last * width),
            (self.file, values + first * item, values + last * item),
        ]


def write_tiles(
    scratch: Scratch, name: str, tiles: Iterable[Tile], first_gene: int, cuts: Sequence[int]
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
    cuts
        Position of the first gene of each encode task, and the end.
    """
    stored: list[StoredTile] = []
    bounds = [cut - first_gene for cut in cuts]

    def arrays() -> Iterator[Array]:
        offset = 0
        for wide in tiles:
            tile = replace(wide, values=narrowed(wide.values))
            stored.append(_describe(tile, name, offset, first_gene, len(cuts) - 1))
            offset += stored[-1].nbytes
            parts = _arrays(tile)
            yield from parts
            yield _checksums(parts, bounds)

    scratch.write(name, arrays())
    return stored


def _describe(tile: Tile, file: str, offset: int, first_gene: int, n_cuts: int) -> StoredTile:
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
        n_cuts=n_cuts,
    )


def _arrays(tile: Tile) -> tuple[Array, ...]:
    if isinstance(tile, SparseTile):
        return tile.indptr.astype(_INDPTR), tile.cells, np.ascontiguousarray(tile.values)
    return (np.ascontiguousarray(tile.values),)


def _checksums(parts: tuple[Array, ...], bounds: Sequence[int]) -> Array:
    """Return the checksums of the genes between each two bounds."""
    sums = np.zeros((len(bounds) - 1, 3), _SUMS)
    for row, (start, stop) in enumerate(pairwise(bounds)):
        if len(parts) == 1:
            sums[row, 2] = crc32(parts[0][start:stop])
            continue
        indptr, cells, values = parts
        first, last = int(indptr[start]), int(indptr[stop])
        sums[row] = (
            crc32(indptr[start : stop + 1]),
            crc32(cells[first:last]),
            crc32(values[first:last]),
        )
    return sums


class StoredGenes:
    """The genes of an encode task, in all the tiles that hold some of their values.

    Parameters
    ----------
    scratch, tiles
        Where they are.
    first, last
        Positions of the genes among the exported ones.
    cut
        Number of the task among those that the tiles' genes are for.

    Attributes
    ----------
    nbytes
        int64, (last - first,): bytes of each gene's values.
    """

    def __init__(
        self, scratch: Scratch, tiles: Sequence[StoredTile], first: int, last: int, cut: int
    ) -> None:
        self._scratch, self._tiles, self._first = scratch, tiles, first
        sparse = [tile for tile in tiles if tile.nnz is not None]
        ranges = [tile.sums_range(cut) for tile in tiles]
        ranges += [tile.indptr_range(first, last) for tile in sparse]
        parts = iter(scratch.read_ranges(ranges) if ranges else ())
        self._expected = [np.frombuffer(next(parts), _SUMS).tolist() for _ in tiles]
        self._indptrs: list[Array] = []
        self._sums: list[list[int]] = []
        self.nbytes = np.zeros(last - first, np.int64)
        for tile in tiles:
            raw = b"" if tile.nnz is None else next(parts)
            self._sums.append([crc32(raw), 0, 0])
            self._check(self._sums[-1][0] == self._expected[len(self._indptrs)][0])
            indptr = np.frombuffer(raw, _INDPTR).astype(np.int64)
            self._indptrs.append(indptr)
            item = np.dtype(tile.value_dtype).itemsize
            if tile.nnz is None:
                self.nbytes += tile.n_cells * item
            else:
                self.nbytes += np.diff(indptr) * (np.dtype(tile.cell_dtype).itemsize + item)

    def read(self, start: int, stop: int) -> list[Tile]:
        """Read the next genes, counted from the first, of every tile."""
        ranges: list[_Range] = []
        indptrs = [indptr[start : stop + 1] for indptr in self._indptrs]
        for tile, indptr in zip(self._tiles, indptrs, strict=True):
            ranges += tile.value_ranges(self._first + start, self._first + stop, indptr)
        parts = iter(self._scratch.read_ranges(ranges))
        tiles: list[Tile] = []
        for tile, indptr, sums in zip(self._tiles, indptrs, self._sums, strict=True):
            cells = b"" if tile.nnz is None else next(parts)
            values = next(parts)
            sums[1:] = crc32(cells, sums[1]), crc32(values, sums[2])
            numbers = np.frombuffer(values, tile.value_dtype)
            tiles.append(
                DenseTile(tile.first_cell, numbers.reshape(stop - start, tile.n_cells))
                if tile.nnz is None
                else SparseTile(
                    tile.first_cell,
                    tile.n_cells,
                    indptr - indptr[0],
                    np.frombuffer(cells, tile.cell_dtype),
                    numbers,
                )
            )
        return tiles

    def check(self) -> None:
        """Make sure, when all genes are read, that they are what was written.

        Raises
        ------
        ExportError
            They are not.
        """
        self._check(self._sums == self._expected)

    def _check(self, same: bool) -> None:
        if not same:
            raise ExportError(
                f"Scratch at {self._scratch} is damaged: what was read there is not what was "
                "written. Name another folder with --scratch, and continue with --resume."
            )
