"""A matrix over cells -> the undirected edges of its graph, each once and in order.

An edge is one number, the lower cell in its upper half and the higher cell in its lower:
sorting the numbers sorts the edges, and duplicates lie side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from cellucid_dask.encode.gzip_blocks import GzipBlocks, compress_blocks
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.types import Array

_SHIFT = np.uint64(32)
# Cells whose edges are compressed together: enough to lose nothing, few enough to share out.
_SEGMENT_CELLS = 1024
_MOST_SEGMENTS = 4096


def edge_keys(block: Any, first_row: int, first_column: int) -> Array:
    """Return the edges of a block of the matrix.

    Parameters
    ----------
    block
        Region of the square matrix: scipy sparse of any format, or anything numpy reads.
    first_row, first_column
        The cells of the block's first row and column.

    Returns
    -------
    numpy.ndarray
        uint64, ascending, each edge once. What is not zero is an edge; cells have none
        with themselves.
    """
    rows, columns = _stored(block) if sparse.issparse(block) else np.nonzero(np.asarray(block))
    one = rows.astype(np.uint64)
    one += np.uint64(first_row)
    other = columns.astype(np.uint64)
    other += np.uint64(first_column)
    high = np.maximum(one, other)
    low = np.minimum(one, other, out=one)
    between_two = low != high
    low <<= _SHIFT
    low |= high
    return join_keys([low if between_two.all() else low[between_two]])


def _stored(block: Any) -> tuple[Array, Array]:
    """Rows and columns of the values that are stored and not zero."""
    if block.format not in ("csr", "csc"):
        block = block.tocsr()
    check_indices(block)
    count = np.diff(block.indptr)
    major, minor = np.repeat(np.arange(len(count), dtype=np.uint32), count), block.indices
    kept = block.data != 0
    if not kept.all():
        major, minor = major[kept], minor[kept]
    return (major, minor) if block.format == "csr" else (minor, major)


def join_keys(keys: Sequence[Array]) -> Array:
    """Return the edges of several arrays of keys, ascending and each once."""
    joined = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
    joined.sort()
    new = np.ones(len(joined), bool)
    np.not_equal(joined[1:], joined[:-1], out=new[1:])
    return joined if new.all() else joined[new]


def segments(n_cells: int) -> Array:
    """Return where segments of cells begin, and the end of the last: int64.

    Edges are stored and compressed by the segment of their lower cell. Segments depend on
    the number of cells alone, so how the work was shared out leaves no trace in the bytes.
    """
    width = max(_SEGMENT_CELLS, -(-n_cells // _MOST_SEGMENTS))
    return np.append(np.arange(0, n_cells, width), n_cells)


def cut(keys: Array, bounds: Array) -> Array:
    """Return where the edges of each segment begin among sorted keys."""
    return np.searchsorted(keys, bounds.astype(np.uint64) << _SHIFT)


@dataclass(frozen=True)
class EdgeRange:
    """All edges whose lower cell is in a range.

    Attributes
    ----------
    sources, destinations
        The lower and the higher cell of each edge, encoded.
    higher
        The higher cells again, plain, to count the neighbors that they have.
    first_cell, n_higher
        The first cell of the range, and how many edges go up from each cell of it.
    """

    sources: GzipBlocks
    destinations: GzipBlocks
    higher: Array
    first_cell: int
    n_higher: Array

    def count_neighbors(self, total: Array) -> None:
        """Add what each cell has here to (n_cells,) numbers of neighbors."""
        total[self.first_cell : self.first_cell + len(self.n_higher)] += self.n_higher
        np.add.at(total, self.higher, 1)


def edge_range(keys: Array, bounds: Array, dtype: np.dtype[Any], level: int | None) -> EdgeRange:
    """Encode all edges of some segments.

    Parameters
    ----------
    keys
        Ascending, each edge once.
    bounds
        Where the segments begin, and the end of the last.
    dtype
        Of a cell's number.
    level
        gzip level, or ``None``.
    """
    first, last = int(bounds[0]), int(bounds[-1])
    cuts = cut(keys, bounds)
    low = keys >> _SHIFT
    per_cell = np.bincount((low - np.uint64(first)).astype(np.int64), minlength=last - first)
    high = keys.astype(np.uint32).astype(dtype, copy=False)  # the lower half
    return EdgeRange(
        sources=compress_blocks(low.astype(dtype), cuts, level),
        destinations=compress_blocks(high, cuts, level),
        higher=high,
        first_cell=first,
        n_higher=per_cell,
    )
