"""The neighbor graph: its matrix is read once, and its edges are sorted and written in order.

read-edges -> scratch -> sort-edges -> the two files            (one scratch for all workers)
read-edges -> cut-edges -> sort-edges -> the two files          (edges stay with the workers)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed, delayed

from cellucid_dask.encode.edges import EdgeRange, cut, edge_keys, edge_range, join_keys, segments
from cellucid_dask.encode.gzip_blocks import GzipWriter
from cellucid_dask.format import names
from cellucid_dask.format.edges import index_dtype
from cellucid_dask.planning.edges import EdgePlan
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.supervise import RETRIES
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_Encoding = tuple[np.dtype[Any], int | None]  # dtype of a cell's number, gzip level


@dataclass(frozen=True)
class Graph:
    """What an export holds of the neighbor graph.

    Attributes
    ----------
    n_edges
        Undirected edges.
    max_neighbors
        Edges of the cell that has most of them.
    files
        Sizes by name.
    scratch_bytes
        What waited in scratch.
    """

    n_edges: int
    max_neighbors: int
    files: dict[str, int]
    scratch_bytes: int


@dataclass(frozen=True)
class _EdgeBlock:
    """The edges of a block, and where each segment of them begins."""

    keys: Array
    bounds: Array


def read_edges(block: Any, row: int, column: int, n_cells: int) -> _EdgeBlock:
    """Return the edges of a block (task)."""
    keys = edge_keys(block, row, column)
    return _EdgeBlock(keys, cut(keys, segments(n_cells)))


def store_edges(
    scratch: Scratch, number: int, block: Any, row: int, column: int, n_cells: int
) -> Array:
    """Put the edges of a block into scratch and say where each segment begins (task)."""
    held = read_edges(block, row, column, n_cells)
    scratch.write(_file(number), [held.keys])
    return held.bounds


def cut_edges(held: _EdgeBlock, first: int, last: int) -> Array:
    """Take the edges of segments ``first ... last - 1`` out of a block's (task)."""
    return held.keys[held.bounds[first] : held.bounds[last]].copy()


def sort_edges(
    keys: Sequence[Array], bounds: Array, dtype: np.dtype[Any], level: int | None
) -> EdgeRange:
    """Sort and encode the edges of a range of segments, from all blocks (task)."""
    return edge_range(join_keys(keys), bounds, dtype, level)


def sort_stored(
    scratch: Scratch, places: Array, bounds: Array, dtype: np.dtype[Any], level: int | None
) -> EdgeRange:
    """Sort and encode edges in scratch; `places` has a start and a stop a block (task)."""
    filled = np.flatnonzero(places[:, 0] < places[:, 1]).tolist()
    found = scratch.read_ranges([(_file(each), *(8 * places[each]).tolist()) for each in filled])
    keys = [np.frombuffer(data, np.uint64) for data in found]
    return sort_edges(keys, bounds, dtype, level)


def export_edges(
    matrix: Matrix, plan: EdgePlan, target: Target, level: int | None, scratch: Scratch | None
) -> Graph:
    """Write the edges of a graph on the active scheduler.

    Parameters
    ----------
    matrix
        Cells x cells, of any storage and not necessarily symmetric.
    plan
        How it is cut.
    level
        gzip level, or ``None``.
    scratch
        Where edges wait, if the plan says so.
    """
    n_cells = matrix.shape[0]
    array = matrix.dask((plan.row_blocks, plan.column_blocks))
    token = dask.base.tokenize(array.name, target.url, level)[:12]
    how = index_dtype(n_cells), level
    if scratch is not None:
        ranges = _through_scratch(array, plan, how, scratch, token)
    else:
        ranges = _through_workers(array, plan, how, token)
    tasks = list(itertools.islice(ranges, plan.n_waiting))  # now the whole matrix has been read
    compressed = level is not None
    files = names.edge_sources_path(compressed), names.edge_destinations_path(compressed)
    neighbors = np.zeros(n_cells, np.int64)
    n_edges = 0
    with target.stream(files[0]) as low, target.stream(files[1]) as high:
        sources, destinations = GzipWriter(low, level), GzipWriter(high, level)
        while tasks:
            for found in run_all(tasks, plan.n_workers):
                sources.add(found.sources)
                destinations.add(found.destinations)
                found.count_neighbors(neighbors)
                n_edges += len(found.higher)
            tasks = list(itertools.islice(ranges, plan.n_waiting))
        sources.finish()
        destinations.finish()
    return Graph(
        n_edges=n_edges,
        max_neighbors=int(neighbors.max(initial=0)),
        files=dict(zip(files, (sources.nbytes, destinations.nbytes), strict=True)),
        scratch_bytes=scratch.nbytes() if scratch else 0,
    )


def _blocks(array: Any) -> Iterator[tuple[int, Delayed, int, int]]:
    """Blocks of the matrix: number, block, first row, first column."""
    rows, columns = (np.cumsum((0, *sizes)).tolist() for sizes in array.chunks)
    blocks = array.to_delayed()
    places = itertools.product(range(blocks.shape[0]), range(blocks.shape[1]))
    for number, (i, j) in enumerate(places):
        yield number, blocks[i, j], rows[i], columns[j]


def _through_scratch(
    array: Any, plan: EdgePlan, how: _Encoding, scratch: Scratch, token: str
) -> Iterator[Delayed]:
    n_cells = array.shape[0]
    stored = [
        delayed(store_edges, pure=False)(
            scratch, number, block, row, column, n_cells,
            dask_key_name=f"read-edges-{token}-{number}",
        )
        for number, block, row, column in _blocks(array)
    ]  # fmt: skip
    places, bounds = np.stack(run_all(stored, plan.n_workers)), segments(n_cells)
    for first, last in plan.ranges(np.diff(places, axis=1).sum(axis=0)):
        yield delayed(sort_stored, pure=False)(
            scratch, places[:, [first, last]], bounds[first : last + 1], *how,
            dask_key_name=f"sort-edges-{token}-{first}",
        )  # fmt: skip


def _through_workers(array: Any, plan: EdgePlan, how: _Encoding, token: str) -> Iterator[Delayed]:
    n_cells = array.shape[0]
    tasks = [
        delayed(read_edges, pure=False)(
            block, row, column, n_cells, dask_key_name=f"read-edges-{token}-{number}"
        )
        for number, block, row, column in _blocks(array)
    ]
    held = dask.persist(*tasks, retries=RETRIES)
    counts = run_all([delayed(_count, pure=False)(each) for each in held], plan.n_workers)
    bounds = segments(n_cells)
    for first, last in plan.ranges(np.sum(counts, axis=0)):
        blocks = [
            delayed(cut_edges, pure=False)(
                each, first, last, dask_key_name=f"cut-edges-{token}-{first}-{number}"
            )
            for number, each in enumerate(held)
        ]
        yield delayed(sort_edges, pure=False)(
            blocks, bounds[first : last + 1], *how, dask_key_name=f"sort-edges-{token}-{first}"
        )


def _count(held: _EdgeBlock) -> Array:
    return np.diff(held.bounds)


def _file(number: int) -> str:
    return f"{number}.edges"
