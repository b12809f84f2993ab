"""A cells x cells matrix -> the undirected edges of its graph, each once and in order.

An edge is one 64-bit key with the lower cell in the upper half and the higher cell in the lower
half: sorting the keys sorts the edges and makes duplicates adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.compressed import is_sparse
from cellucid_dask.encode.gzip_blocks import GzipBlocks, compress_blocks
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.types import Array

_SHIFT = np.uint64(32)
# Cells whose edges are compressed together: enough to compress as well as the whole, few enough to
# distribute over tasks.
_SEGMENT_CELLS = 1024
_MAX_SEGMENTS = 4096


def edge_keys(block: Any, first_row: int, first_column: int) -> Array:
    """Return the edges of a block of the matrix.

    Parameters
    ----------
    block
        A region of the square matrix: scipy sparse of any format, or anything numpy reads.
    first_row, first_column
        The cells of the block's first row and column.

    Returns
    -------
    ndarray
        uint64, (n_edges,): ascending, each edge once. Every non-zero off the diagonal is an edge.

    Raises
    ------
    ExportError
        A sparse block has indices outside its shape.
    """
    rows, columns = _non_zeros(block) if is_sparse(block) else np.nonzero(np.asarray(block))
    first = rows.astype(np.uint64)
    first += np.uint64(first_row)
    second = columns.astype(np.uint64)
    second += np.uint64(first_column)
    higher = np.maximum(first, second)
    keys = np.minimum(first, second, out=first)
    off_diagonal = keys != higher
    keys <<= _SHIFT
    keys |= higher
    return join_keys([keys if off_diagonal.all() else keys[off_diagonal]])


def _non_zeros(block: Any) -> tuple[Array, Array]:
    """Return rows and columns of the stored values that are not zero."""
    if block.format not in ("csr", "csc"):
        block = block.tocsr()
    check_indices(block)
    counts = np.diff(block.indptr)
    major, minor = np.repeat(np.arange(len(counts), dtype=np.uint32), counts), block.indices
    kept = block.data != 0
    if not kept.all():
        major, minor = major[kept], minor[kept]
    return (major, minor) if block.format == "csr" else (minor, major)


def join_keys(keys: Sequence[Array]) -> Array:
    """Return the keys of several arrays (uint64) as one, ascending and each once."""
    joined = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
    joined.sort()
    is_first = np.ones(len(joined), bool)
    np.not_equal(joined[1:], joined[:-1], out=is_first[1:])
    return joined if is_first.all() else joined[is_first]


def segments(n_cells: int) -> Array:
    """Return the first cell of each segment of cells, and the end of the last.

    Edges are stored and compressed by the segment of their lower cell. Segments depend on the
    number of cells alone, so that the bytes do not depend on how the work was distributed.

    Returns
    -------
    ndarray
        int64, (n_segments + 1,).
    """
    width = max(_SEGMENT_CELLS, -(-n_cells // _MAX_SEGMENTS))
    return np.append(np.arange(0, n_cells, width), n_cells)


def cut(keys: Array, bounds: Array) -> Array:
    """Return where the edges of each segment begin in sorted keys: int64, (n_segments + 1,)."""
    return np.searchsorted(keys, bounds.astype(np.uint64) << _SHIFT)


@dataclass(frozen=True)
class EdgeRange:
    """All edges whose lower cell is in a range of cells.

    Attributes
    ----------
    sources, destinations
        The lower and the higher cell of each edge, encoded.
    higher
        (n_edges,): the higher cell of each edge, to count neighbors.
    first_cell
        The first cell of the range.
    n_higher
        int64, (n_cells of the range,): number of edges from each cell to higher cells.
    """

    sources: GzipBlocks
    destinations: GzipBlocks
    higher: Array
    first_cell: int
    n_higher: Array

    def count_neighbors(self, total: Array) -> None:
        """Add the edges of each cell to `total`: int64, (n_cells,), changed in place."""
        total[self.first_cell : self.first_cell + len(self.n_higher)] += self.n_higher
        np.add.at(total, self.higher, 1)


def edge_range(keys: Array, bounds: Array, dtype: np.dtype[Any], level: int | None) -> EdgeRange:
    """Encode all edges of some segments.

    Parameters
    ----------
    keys
        uint64, (n_edges,): ascending, each edge once.
    bounds
        int64: the first cell of each segment, and the end of the last.
    dtype
        Integer type that cells are stored in.
    level
        gzip level, or ``None`` for the plain bytes.
    """
    first, last = int(bounds[0]), int(bounds[-1])
    cuts = cut(keys, bounds)
    lower = keys >> _SHIFT
    n_higher = np.bincount((lower - np.uint64(first)).astype(np.int64), minlength=last - first)
    higher = keys.astype(np.uint32).astype(dtype, copy=False)  # the lower half of a key
    return EdgeRange(
        sources=compress_blocks(lower.astype(dtype), cuts, level),
        destinations=compress_blocks(higher, cuts, level),
        higher=higher,
        first_cell=first,
        n_higher=n_higher,
    )
