"""The edges of the neighbor matrix: it is read once, and its edges are sorted and written in order.

read-edges -> scratch -> sort-edges -> the two files            (all workers share one scratch)
read-edges -> cut-edges -> sort-edges -> the two files          (workers keep the edges)
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed, delayed

from cellucid_dask.encode.edges import EdgeRange, cut, edge_keys, edge_range, join_keys, segments
from cellucid_dask.encode.gzip_blocks import GzipWriter, Sink
from cellucid_dask.format import names
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.edges import index_dtype
from cellucid_dask.kernel.files import Checksum
from cellucid_dask.planning.edges import EdgePlan
from cellucid_dask.request.resolve import Request
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.runtime.supervise import RETRIES
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.scratch import Scratch, open_scratch
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_READING = "reading the neighbor graph"
_Encoding = tuple[np.dtype[Any], int | None]  # dtype that cells are stored in, gzip level


@dataclass(frozen=True)
class EdgeFiles:
    """The edge files of an export.

    Attributes
    ----------
    n_edges
        Number of undirected edges.
    max_neighbors
        Largest number of edges of a cell.
    files
        Digest of each file, by path.
    scratch_bytes
        Bytes of the edges in scratch.
    """

    n_edges: int
    max_neighbors: int
    files: dict[str, FileDigest]
    scratch_bytes: int


@dataclass(frozen=True)
class _EdgeBlock:
    """The edges of a block of the matrix.

    Attributes
    ----------
    keys
        uint64, (n_edges,): sorted.
    offsets
        int64, (n_segments + 1,): offset of each segment's first edge, and the end.
    """

    keys: Array
    offsets: Array


def read_edges(block: Any, row: int, column: int, n_cells: int) -> _EdgeBlock:
    """Return the edges of a block (task)."""
    keys = edge_keys(block, row, column)
    return _EdgeBlock(keys, cut(keys, segments(n_cells)))


def store_edges(
    scratch: Scratch, number: int, block: Any, row: int, column: int, n_cells: int
) -> Array:
    """Write the edges of a block to scratch and return the offset of each segment (task)."""
    edges = read_edges(block, row, column, n_cells)
    scratch.write(_file(number), [edges.keys])
    return edges.offsets


def cut_edges(edges: _EdgeBlock, first: int, last: int) -> Array:
    """Return the edges of segments ``first ... last - 1`` of a block (task)."""
    return edges.keys[edges.offsets[first] : edges.offsets[last]].copy()


def sort_edges(
    keys: Sequence[Array], bounds: Array, dtype: np.dtype[Any], level: int | None
) -> EdgeRange:
    """Sort and encode the edges of a range of segments, from all blocks (task)."""
    return edge_range(join_keys(keys), bounds, dtype, level)


def sort_stored(
    scratch: Scratch, offsets: Array, bounds: Array, dtype: np.dtype[Any], level: int | None
) -> EdgeRange:
    """Sort and encode edges in scratch; `offsets` is (n_blocks, 2): start and stop (task)."""
    filled = np.flatnonzero(offsets[:, 0] < offsets[:, 1]).tolist()
    parts = scratch.read_ranges([(_file(each), *(8 * offsets[each]).tolist()) for each in filled])
    return sort_edges([np.frombuffer(data, np.uint64) for data in parts], bounds, dtype, level)


def export_request_edges(request: Request, target: Target) -> EdgeFiles | None:
    """Write the edges of the graph that was asked for, if any, through scratch of their own."""
    neighbors, plan, settings = request.neighbors, request.edge_plan, request.settings
    if neighbors is None or plan is None:
        return None
    needed = plan.scratch_bytes if plan.through_scratch else None
    with open_scratch(settings.scratch, target.parent, needed, settings.storage_options) as scratch:
        return export_edges(neighbors, plan, target, settings.compression, scratch)


def export_edges(
    neighbors: Matrix, plan: EdgePlan, target: Target, level: int | None, scratch: Scratch | None
) -> EdgeFiles:
    """Write the edges of a neighbor matrix on the active scheduler.

    Parameters
    ----------
    neighbors
        Cells x cells, of any storage and not necessarily symmetric.
    plan
        How the matrix is cut.
    target
        The export.
    level
        gzip level, or ``None`` for plain files.
    scratch
        Where edges are kept until they are sorted; needed if ``plan.through_scratch``.
    """
    n_cells = neighbors.shape[0]
    array = neighbors.dask((plan.row_blocks, plan.column_blocks))
    token = dask.base.tokenize(array.name, target.url, level)[:12]
    encoding = index_dtype(n_cells), level
    if scratch is not None:
        ranges = _through_scratch(array, plan, encoding, scratch, token)
    else:
        ranges = _through_workers(array, plan, encoding, token)
    tasks = list(itertools.islice(ranges, plan.n_waiting))  # reads the whole matrix
    compressed = level is not None
    files = names.edge_sources_path(compressed), names.edge_destinations_path(compressed)
    n_neighbors = np.zeros(n_cells, np.int64)
    n_edges = 0
    with (
        target.stream(files[0]) as lower,
        target.stream(files[1]) as higher,
        follow("writing the neighbor graph", 0, "edges") as progress,
    ):
        outs = _Digesting(lower), _Digesting(higher)
        sources, destinations = (GzipWriter(out, level) for out in outs)
        while tasks:
            for edges in run_all(tasks, plan.n_workers):
                sources.add(edges.sources)
                destinations.add(edges.destinations)
                edges.count_neighbors(n_neighbors)
                n_edges += len(edges.higher)
                progress.add(len(edges.higher))
            tasks = list(itertools.islice(ranges, plan.n_waiting))
        sources.finish()
        destinations.finish()
    return EdgeFiles(
        n_edges=n_edges,
        max_neighbors=int(n_neighbors.max(initial=0)),
        # stores report no MD5 of what is written in parts
        files={
            name: FileDigest(
                writer.nbytes,
                out.sha256.hexdigest(),
                out.checksum.hexdigest() if target.is_local else "",
            )
            for name, writer, out in zip(files, (sources, destinations), outs, strict=True)
        },
        scratch_bytes=scratch.nbytes() if scratch else 0,
    )


class _Digesting:
    """A sink that passes on what is written, and computes its SHA-256 and `Target.tag`."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self.sha256, self.checksum = hashlib.sha256(), Checksum()

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._out.write(data)
        self.sha256.update(data)
        self.checksum.update(data)


def _blocks(array: Any) -> Iterator[tuple[int, Delayed, int, int]]:
    """Yield the number, the block, the first row and the first column of each block."""
    rows, columns = (np.cumsum((0, *sizes)).tolist() for sizes in array.chunks)
    for number, ((i, j), block) in enumerate(np.ndenumerate(array.to_delayed())):
        yield number, block, rows[i], columns[j]


def _through_scratch(
    array: Any, plan: EdgePlan, encoding: _Encoding, scratch: Scratch, token: str
) -> Iterator[Delayed]:
    n_cells = array.shape[0]
    stored = [
        delayed(store_edges, pure=False)(
            scratch, number, block, row, column, n_cells,
            dask_key_name=f"read-edges-{token}-{number}",
        )
        for number, block, row, column in _blocks(array)
    ]  # fmt: skip
    with follow(_READING, len(stored), "blocks") as progress:
        offsets = np.stack(run_all(stored, plan.n_workers, progress))
    bounds = segments(n_cells)
    for first, last in plan.ranges(np.diff(offsets, axis=1).sum(axis=0)):
        yield delayed(sort_stored, pure=False)(
            scratch, offsets[:, [first, last]], bounds[first : last + 1], *encoding,
            dask_key_name=f"sort-edges-{token}-{first}",
        )  # fmt: skip


def _through_workers(
    array: Any, plan: EdgePlan, encoding: _Encoding, token: str
) -> Iterator[Delayed]:
    n_cells = array.shape[0]
    tasks = [
        delayed(read_edges, pure=False)(
            block, row, column, n_cells, dask_key_name=f"read-edges-{token}-{number}"
        )
        for number, block, row, column in _blocks(array)
    ]
    edge_blocks = dask.persist(*tasks, retries=RETRIES)
    with follow(_READING, len(tasks), "blocks") as progress:
        tasks = [delayed(_count, pure=False)(each) for each in edge_blocks]
        counts = run_all(tasks, plan.n_workers, progress)
    bounds = segments(n_cells)
    for first, last in plan.ranges(np.sum(counts, axis=0)):
        parts = [
            delayed(cut_edges, pure=False)(
                each, first, last, dask_key_name=f"cut-edges-{token}-{first}-{number}"
            )
            for number, each in enumerate(edge_blocks)
        ]
        yield delayed(sort_edges, pure=False)(
            parts, bounds[first : last + 1], *encoding, dask_key_name=f"sort-edges-{token}-{first}"
        )


def _count(edges: _EdgeBlock) -> Array:
    return np.diff(edges.offsets)


def _file(number: int) -> str:
    return f"{number}.edges"
