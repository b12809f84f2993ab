"""Tiles of some genes -> the bytes of their files.

This is the boundary between the engine and the kernel: whoever encodes genes, for a run or for a
forecast, calls `encode_genes`, and whoever plans memory asks `working_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.gene_vectors import RUN_VALUES, gene_vectors
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.types import Array

# Bytes a value takes on its way from tile to vector: position, two scales, float64, marks.
_STEP_BYTES = 48


@dataclass(frozen=True)
class EncodedGenes:
    """Some genes as they are stored.

    Attributes
    ----------
    files
        Bytes of each gene's file, in order; compressed one by one as they are taken.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values.
    n_missing
        int64, (n_genes,): how many values are NaN or infinite.
    """

    files: Iterator[bytes]
    lowest: Array
    highest: Array
    n_missing: Array


def encode_genes(
    tiles: Sequence[Tile], n_cells: int, bits: int | None, level: int | None
) -> EncodedGenes:
    """Quantize and compress the genes of some tiles.

    Parameters
    ----------
    tiles
        Tiles of the same genes that together hold every cell once (a sparse tile may leave out
        values, which are then zero).
    n_cells
        Values of a gene.
    bits
        8 or 16, or ``None`` for float32.
    level
        gzip level 1-9, or ``None`` for the plain bytes.
    """
    genes = gene_vectors(tiles, n_cells, bits)
    files = (compress(vector, level) for vector in genes.vectors)
    return EncodedGenes(files, genes.lowest, genes.highest, genes.n_missing)


def vector_bytes(n_cells: int, bits: int | None) -> int:
    """Return the size of a gene's values before they are compressed."""
    return n_cells * (4 if bits is None else bits // 8)


def working_bytes(n_cells: int, bits: int | None) -> tuple[int, int]:
    """Return the memory that `encode_genes` takes beside its tiles.

    Returns
    -------
    tuple
        Bytes that any call takes; and bytes of one gene: its vector and its compressed copy.
    """
    return RUN_VALUES * _STEP_BYTES, 2 * vector_bytes(n_cells, bits)
