"""A matrix of counts that is normalized block by block as it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.delayed import delayed

from cellucid_dask.encode.normalize import as_counts, check_totals, log1p_cp10k, row_totals
from cellucid_dask.planning import Layout
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.source.matrix import Blocks, Matrix, Storage
from cellucid_dask.types import Array

if TYPE_CHECKING:
    import dask.array as da


@dataclass(frozen=True)
class NormalizedMatrix:
    """Cells x genes of log1p counts per ten thousand, float32.

    The totals of cells are computed from each block if blocks contain all genes; otherwise
    `prepare` computes them first, by a pass over the matrix.

    Attributes
    ----------
    counts
        The matrix of counts.
    layer
        Name of its layer, for errors.
    n_concurrent
        Number of blocks that the pass for totals reads at once.
    totals
        float64, (cells,): counts of each cell over all genes; ``None`` before `prepare`.
    """

    counts: Matrix
    layer: str
    n_concurrent: int
    totals: Array | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return self.counts.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the normalized values."""
        return np.dtype(np.float32)

    @property
    def storage(self) -> Storage:
        """Kind of the blocks of counts."""
        return self.counts.storage

    @property
    def fixed_blocks(self) -> Blocks | None:
        """Fixed blocks of the counts."""
        return self.counts.fixed_blocks

    @property
    def shared_nbytes(self) -> int:
        """Bytes of the totals of all cells, and of those of each block that `prepare` reads."""
        return 0 if self.storage == "csr" else 8 * self.shape[0] * (1 + self.n_concurrent)

    def layout(self, columns: Array) -> Layout:
        """Describe the matrix for planning: values are transformed as they are read."""
        work = 2 * self.counts.dtype.itemsize + 12  # as read, in float64, and as float32
        return replace(self.counts.layout(columns), dtype=self.dtype, work_nbytes=work)

    def fingerprint(self) -> str:
        """Return a digest of the counts."""
        return self.counts.fingerprint()

    def prepare(self, blocks: Blocks) -> NormalizedMatrix:
        """Return the matrix with the totals of all cells, if these blocks need them.

        Raises
        ------
        ExportError
            A value or a total cannot be of counts.
        """
        if len(blocks[1]) == 1 or self.totals is not None:
            return self
        counts = self.counts.dask(blocks)
        totals = np.zeros(self.shape[0])
        starts = np.cumsum((0, *counts.chunks[0]))
        tasks = [
            (int(starts[i]), delayed(_totals_of, pure=False)(block, self.layer))
            for (i, _), block in np.ndenumerate(counts.to_delayed())
        ]
        for first in range(0, len(tasks), self.n_concurrent):
            batch = tasks[first : first + self.n_concurrent]
            results = run_all((task for _, task in batch), self.n_concurrent)
            for (start, _), part in zip(batch, results, strict=True):
                totals[start : start + len(part)] += part
        return replace(self, totals=check_totals(totals, self.layer))

    def dask(self, blocks: Blocks) -> da.Array:
        """Return the normalized matrix as a Dask array of these blocks."""
        import dask.array as da  # noqa: PLC0415  slow to import

        from cellucid_dask.source.lazy import lazy_array  # noqa: PLC0415

        matrix = self.prepare(blocks)
        if self.fixed_blocks is None:
            return lazy_array(matrix, blocks)
        counts = self.counts.dask(blocks)
        # Dask represents the kind of its blocks by an empty one
        meta = counts._meta.astype(np.float32)  # noqa: SLF001
        options = {"dtype": self.dtype, "meta": meta, "layer": self.layer}
        totals = None
        if len(blocks[1]) > 1:
            totals = da.from_array(np.asarray(matrix.totals)[:, None], chunks=(blocks[0], 1))
        normalized: da.Array = da.map_blocks(_normalized, counts, totals, **options)
        return normalized

    def read(self, rows: slice, columns: slice) -> Any:
        """Read a region and normalize it.

        Raises
        ------
        ValueError
            The region does not have all genes, and `prepare` was not called.
        ExportError
            A value or a total cannot be of counts.
        """
        all_genes = columns.stop - columns.start == self.shape[1]
        if not all_genes and self.totals is None:
            raise ValueError("totals of all cells are needed: call prepare first")
        totals = None if all_genes or self.totals is None else self.totals[rows]
        return _normalized(self.counts.read(rows, columns), totals, self.layer)


def _totals_of(block: Any, layer: str) -> Array:
    return row_totals(as_counts(block, layer))


def _normalized(block: Any, totals: Array | None, layer: str) -> Any:
    """Normalize a block by the totals of its cells; ``None`` if they are those of the block."""
    counts = as_counts(block, layer)
    if totals is None:
        totals = check_totals(row_totals(counts), layer)
    return log1p_cp10k(counts, totals.reshape(-1))
