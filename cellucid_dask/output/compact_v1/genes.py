"""A file for each gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cellucid_dask.encode.counts import GeneCounts
from cellucid_dask.encode.genes import encode_genes
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array


@dataclass(frozen=True)
class GeneFiles:
    """The files of genes.

    Attributes
    ----------
    columns
        int64: matrix columns of the genes, ascending.
    paths
        Of the file of each.
    n_cells
        Values of a gene.
    bits, level
        Of quantization (``None``: float32) and of gzip (``None``: plain).
    """

    columns: Array
    paths: tuple[str, ...]
    n_cells: int
    bits: int | None
    level: int | None

    counts = exact = False

    def keys(self, first: int, last: int) -> tuple[str, ...]:
        """Return what receipts call some genes: their paths."""
        return self.paths[first:last]

    def check(self, counts: GeneCounts) -> None:
        """Accept all values: what is not finite is shown as missing."""

    def placed(self, _: Target, __: GeneCounts) -> Self:
        """Return the writer: it needs no counts."""
        return self

    def write(self, target: Target, tiles: Sequence[Tile], first: int) -> GeneSummary:
        """Encode and put the genes of some tiles, the first at position `first`."""
        encoded = encode_genes(tiles, self.n_cells, self.bits, self.level)
        digests: list[FileDigest] = []
        with target.writer() as out:
            for some in encoded.files:
                at = first + len(digests)
                out.put(dict(zip(self.paths[at : at + len(some)], some, strict=True)))
                digests += (FileDigest.of(data, target.tag(data)) for data in some)
        nbytes, sha256, tags = zip(*digests, strict=True)
        return GeneSummary(
            self.columns[first : first + len(digests)],
            encoded.lowest,
            encoded.highest,
            encoded.n_missing,
            np.array(nbytes),
            np.array(sha256, "S64"),
            np.array(tags, "S32"),
        )

    def sizes(self, tiles: Sequence[Tile], n_cells: int) -> list[int]:
        """Return the size of the file of each gene, if there were `n_cells` cells."""
        encoded = encode_genes(tiles, n_cells, self.bits, self.level)
        return [len(data) for some in encoded.files for data in some]
