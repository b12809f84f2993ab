"""The boundary between the engine and the kernel: tiles of some genes -> the bytes of their files.

Whoever encodes genes, for a run or for a forecast, calls `encode_genes`; whoever plans memory
calls `working_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.gene_vectors import RUN_VALUES, gene_vectors
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.types import Array

# Working memory per value between tile and vector: position, offset, scale, float64 code, masks.
_WORK_BYTES = 48


@dataclass(frozen=True)
class EncodedGenes:
    """Some genes as they are stored.

    Attributes
    ----------
    files
        Bytes of each gene's file, in order; each is compressed when it is taken.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values.
    n_missing
        int64, (n_genes,): number of values that are NaN or infinite.
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
        Tiles of the same genes that together cover every cell once (values missing from a
        sparse tile are zero).
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
    """Return the size of a gene's values before compression, in bytes."""
    return n_cells * (4 if bits is None else bits // 8)


def working_bytes(n_cells: int, bits: int | None) -> tuple[int, int]:
    """Return the memory that `encode_genes` needs beside its tiles.

    Returns
    -------
    fixed
        Bytes that any call needs.
    per_gene
        Bytes of one gene: its vector and its compressed copy.
    """
    return RUN_VALUES * _WORK_BYTES, 2 * vector_bytes(n_cells, bits)
