"""The boundary between the engine and the kernel: tiles of some genes -> the bytes of their files.

Whoever encodes genes, for a run or for a forecast, calls `encode_genes`; whoever plans memory
calls `working_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellucid_dask.encode.compress import compress, member_bound, smaller_member
from cellucid_dask.encode.gene_vectors import GeneVectors
from cellucid_dask.encode.tiles import DenseTile, Tile
from cellucid_dask.types import Array

# Bytes of files that one call makes: calls are few, and files are still in cache when written.
_FILES_BYTES = 2**20
# Bytes a cell of the gene that is encoded: gap and code of a token, and the vector.
_TOKEN_BYTES = 4 + 1 + 1


@dataclass(frozen=True)
class EncodedGenes:
    """Some genes as they are stored.

    Attributes
    ----------
    files
        Bytes of each gene's file, in order; some at a time, which are made when they are taken.
    lowest, highest
        float64, (n_genes,): the range of the finite float32 values.
    n_missing
        int64, (n_genes,): number of values that are NaN or infinite.
    """

    files: Iterator[list[memoryview]]
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
    genes = GeneVectors(tiles, n_cells)
    files = _files(genes, bits, level) if bits != 8 or level is None else _members(genes, level)
    return EncodedGenes(files, genes.lowest, genes.highest, genes.n_missing)


def _files(genes: GeneVectors, bits: int | None, level: int | None) -> Iterator[list[memoryview]]:
    n_together = max(1, _FILES_BYTES // max(1, vector_bytes(genes.n_cells, bits)))
    for first in range(0, genes.n_genes, n_together):
        last = min(first + n_together, genes.n_genes)
        yield [compress(vector, level) for vector in genes.vectors(first, last, bits)]


def _members(genes: GeneVectors, level: int) -> Iterator[list[memoryview]]:
    first = 0
    while first < genes.n_genes:
        buffer = np.empty(max(_FILES_BYTES, member_bound(genes.n_cells)), np.uint8)
        ends, repetitive = genes.members(first, buffer)
        start, members = 0, []
        for gene, (end, again) in enumerate(zip(ends.tolist(), repetitive.tolist(), strict=True)):
            member = buffer[start:end].data
            if again:
                (vector,) = genes.vectors(first + gene, first + gene + 1, 8)
                member = smaller_member(member, vector, level)
            members.append(member)
            start = end
        yield members
        first += len(ends)


def quantize(values: npt.NDArray[np.float32], bits: int) -> tuple[Array, float, float]:
    """Encode one vector over its own finite range.

    Parameters
    ----------
    values
        float32, (n,).
    bits
        8 or 16.

    Returns
    -------
    codes
        uint8 or uint16, (n,); ``MISSING_CODE[bits]`` where a value is not finite.
    lowest, highest
        The finite range: exact, never -0.0; both 0.0 if no value is finite.
    """
    vector = GeneVectors([DenseTile(0, values[None])], len(values))
    (codes,) = vector.vectors(0, 1, bits)
    return codes, float(vector.lowest[0]), float(vector.highest[0])


def vector_bytes(n_cells: int, bits: int | None) -> int:
    """Return the size of a gene's values before compression, in bytes."""
    return n_cells * (4 if bits is None else bits // 8)


def working_bytes(n_cells: int, bits: int | None) -> int:
    """Return the memory that `encode_genes` needs beside its tiles, for any number of genes.

    These are the files of one call and of the call before, and either what the kernel needs for
    one gene or what a search for matches does: a vector and its compressed copy.
    """
    files = max(_FILES_BYTES, vector_bytes(n_cells, bits), member_bound(n_cells))
    return 2 * files + max(_TOKEN_BYTES * n_cells, 2 * vector_bytes(n_cells, bits))
