"""Tiles -> the range of each gene, its vector, or its values alone, by the compiled kernel."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref
from typing import Any

import numpy as np

from cellucid_dask.encode.kernel_tiles import DAMAGED, Tiles
from cellucid_dask.encode.quantize import CODE_DTYPE
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.kernel.library import address, checked, library
from cellucid_dask.types import Array

_FLOAT32 = np.dtype("<f4")
_CHANGED = "Values that were read twice are not the same: the source changed while it was exported."

# Of a value and its cell: as they are made, as they wait for the end of their chunk, as they are
# joined there, and as they are shuffled and compressed.
_COPIES = 4
_MIN_VALUES = 2**16


class GeneVectors:
    """Some genes, with the range of each.

    Parameters
    ----------
    tiles
        Tiles of the same genes that together cover every cell once (values missing from a
        sparse tile are zero), in any order.
    n_cells
        Length of a vector.

    Attributes
    ----------
    n_genes, n_cells
        Number of vectors, and their length.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values, never -0.0; both 0 if no
        value is finite.
    n_missing
        int64, (n_genes,): number of values that are NaN or infinite.
    """

    def __init__(self, tiles: Sequence[Tile], n_cells: int) -> None:
        self._tiles = Tiles.of(tiles)
        self.n_genes, self.n_cells = self._tiles.n_genes, n_cells
        self._genes = self._tiles.struct(n_cells)
        self.lowest, self.highest = np.empty(self.n_genes), np.empty(self.n_genes)
        self.n_missing = np.empty(self.n_genes, np.int64)
        ranges = (address(self.lowest), address(self.highest), address(self.n_missing))
        checked(library().cellucid_ranges(byref(self._genes), *ranges), DAMAGED)

    def vectors(self, first: int, last: int, bits: int | None) -> Array:
        """Return the vectors of genes ``first ... last - 1``.

        Parameters
        ----------
        first, last
            A range of genes.
        bits
            8 or 16 for codes, or ``None`` for float32.

        Returns
        -------
        ndarray
            (last - first, n_cells): ``<u1``, ``<u2`` or ``<f4``.
        """
        vectors = np.empty(
            (last - first, self.n_cells), "<f4" if bits is None else CODE_DTYPE[bits]
        )
        ranges = address(self.lowest), address(self.highest)
        result = library().cellucid_vectors(
            byref(self._genes), first, last, bits or 32, *ranges, address(vectors)
        )
        checked(result, DAMAGED)
        return vectors

    def columns(
        self, first: int, counts: Array, dtype: np.dtype[Any] = _FLOAT32
    ) -> tuple[Array, Array]:
        """Return the values of some genes that are not zero, and the cell of each, gene after gene.

        Parameters
        ----------
        first
            The first gene.
        counts
            int64, (n,): number of values of each.
        dtype
            Of the values: ``<f4`` or ``<f8``.

        Returns
        -------
        values, cells
            `dtype` and ``<i4``, (counts.sum(),).

        Raises
        ------
        ExportError
            There are more or fewer.
        """
        counts = np.ascontiguousarray(counts, np.int64)
        n_values = int(counts.sum())
        values, cells = np.empty(n_values, dtype), np.empty(n_values, "<i4")
        result = library().cellucid_columns(
            byref(self._genes), first, first + len(counts), address(counts),
            8 * values.itemsize, address(values), address(cells),
        )  # fmt: skip
        checked(result, _CHANGED)
        return values, cells

    def members(self, first: int, buffer: Array) -> tuple[Array, Array]:
        """Encode genes from `first` on with 8 bits as gzip members, as many as fit a buffer.

        Parameters
        ----------
        first
            The first gene.
        buffer
            uint8: where the members go, one after the other; at least `member_bound`.

        Returns
        -------
        ends
            int64, (n_done,): where each ends in `buffer`.
        repetitive
            bool, (n_done,): whether a search for matches may give a smaller member.
        """
        ends = np.empty(self.n_genes - first, np.int64)
        repetitive = np.empty(self.n_genes - first, bool)
        n_done = library().cellucid_members(
            byref(self._genes), first, self.n_genes, address(self.lowest), address(self.highest),
            address(buffer), buffer.size, address(ends), address(repetitive),
        )  # fmt: skip
        checked(n_done, DAMAGED)
        return ends[:n_done], repetitive[:n_done]


def values_together(n_cells: int) -> int:
    """Return how many values `GeneVectors.columns` should make at a time: at least a gene's."""
    return max(n_cells, _MIN_VALUES)


def columns_bytes(n_cells: int, dtype: np.dtype[Any]) -> int:
    """Return the memory that so many values need beside their tiles until they are written.

    Parameters
    ----------
    n_cells
        Length of a vector.
    dtype
        Widest dtype of the values of tiles.
    """
    wide = dtype == np.float64  # one copy more, where the matrix is dense
    return (12 * (_COPIES + 1) if wide else 8 * _COPIES) * values_together(n_cells)
