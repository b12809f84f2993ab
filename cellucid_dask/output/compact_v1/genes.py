"""A file for each gene."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cellucid_dask.encode.counts import GeneCounts
from cellucid_dask.encode.kernel import encode_genes
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array


@dataclass(frozen=True)
class GeneFiles:
    """The files of genes.

    Attributes
    ----------
    columns
        int64: matrix columns of the genes, ascending.
    keys
        Path of the file of each.
    n_cells
        Values of a gene.
    bits, level
        Of quantization (``None``: float32) and of gzip (``None``: plain).
    """

    columns: Array
    keys: tuple[str, ...]
    n_cells: int
    bits: int | None
    level: int | None

    counts = exact = False

    def check(self, counts: GeneCounts) -> None:
        """Accept all values: what is not finite is shown as missing."""

    def placed(self, _: Target, __: GeneCounts) -> Self:
        """Return the writer: it needs no counts."""
        return self

    def write(self, target: Target, tiles: Sequence[Tile], first: int) -> GeneSummary:
        """Encode and put the genes of some tiles, the first at position `first`."""
        encoded = encode_genes(tiles, self.n_cells, self.bits, self.level)
        n_genes = tiles[0].n_genes
        nbytes = np.zeros(n_genes, np.int64)
        sha256, md5 = np.zeros(n_genes, "S64"), np.zeros(n_genes, "S32")
        with target.writer() as out:
            for gene, data in enumerate(encoded.files):
                nbytes[gene] = len(data)
                sha256[gene] = hashlib.sha256(data).hexdigest().encode()
                if not target.is_local:  # stores give it back when the run is resumed
                    md5[gene] = hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
                out.put(self.keys[first + gene], data)
        columns = self.columns[first : first + n_genes]
        return GeneSummary(
            columns, encoded.lowest, encoded.highest, encoded.n_missing, nbytes, sha256, md5
        )

    def sizes(self, tiles: Sequence[Tile], n_cells: int) -> list[int]:
        """Return the size of the file of each gene, if there were `n_cells` cells."""
        encoded = encode_genes(tiles, n_cells, self.bits, self.level)
        return [len(data) for data in encoded.files]
