"""Slabs of rows -> a block, which stays sparse for as long as most of its values are zero.

Expression that is stored dense is mostly zeros all the same: what a block of some genes
takes then follows its values, and not how many cells there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

from cellucid_dask.types import Array

# A value takes 8 bytes in a sparse matrix, and 14 while slabs are joined; 4 in a dense one.
_MOST_FILLED = 1 / 4


def join_slabs(slabs: Iterable[Array], shape: tuple[int, int], dtype: np.dtype[Any]) -> Any:
    """Join slabs of rows, one at a time.

    Parameters
    ----------
    slabs
        (some cells, genes), in order.
    shape, dtype
        Of all of them together.

    Returns
    -------
    csc_matrix or ndarray
        Sparse if few values of each slab are not zero, else dense, gene after gene.
    """
    rest = iter(slabs)
    held: list[Any] = []
    for slab in rest:
        if not _is_sparse(slab):
            return _dense(itertools.chain(_drain(held), [slab], rest), shape, dtype)
        held.append(sparse.csc_matrix(slab.astype(dtype.newbyteorder("="), copy=False)))
    return _stacked(held, shape)


def _is_sparse(slab: Array) -> bool:
    """Tell whether a slab should be held sparse, and can; scipy knows no float16."""
    return bool(slab.dtype != np.float16 and np.count_nonzero(slab) <= slab.size * _MOST_FILLED)


def _stacked(held: list[Any], shape: tuple[int, int]) -> Any:
    """Stack CSC matrices in place; scipy would hold all coordinates besides."""
    counts = np.array([np.diff(piece.indptr) for piece in held])
    ends = np.append(0, np.cumsum(counts.sum(axis=0)))
    data = np.empty(ends[-1], held[0].dtype)
    rows = np.empty(ends[-1], np.int32)
    place, first = ends[:-1].copy(), 0
    while held:
        piece = held.pop(0)
        for gene, (start, stop) in enumerate(itertools.pairwise(piece.indptr)):
            there = slice(place[gene], place[gene] + stop - start)
            data[there] = piece.data[start:stop]
            rows[there] = piece.indices[start:stop] + first
        place += np.diff(piece.indptr)
        first += piece.shape[0]
    return sparse.csc_matrix((data, rows, ends), shape=shape)


def _drain(held: list[Any]) -> Iterator[Array]:
    while held:  # each goes before the next comes
        yield held.pop(0).toarray()


def _dense(slabs: Iterable[Array], shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    values = np.empty(shape[::-1], dtype).T
    start = 0
    for slab in slabs:
        values[start : start + len(slab)] = slab
        start += len(slab)
    return values
