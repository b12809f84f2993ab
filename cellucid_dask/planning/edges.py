"""How a neighbor matrix is cut so that its edges can be sorted in a memory budget. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cellucid_dask.encode.tiles import split_by_count
from cellucid_dask.planning.blocks import Layout, split_by_cost, split_evenly
from cellucid_dask.planning.plan import ExportPlan
from cellucid_dask.types import Array, Sizes

# Bytes per edge that is read or sorted: its two cells, its key, copies, masks.
_EDGE_BYTES = 64
_KEY_BYTES = 8
# A task sorts about this many bytes at most, and enough edges that its overhead does not matter.
_MAX_TASK_BYTES = 128 * 2**20
_MIN_TASK_EDGES = 2**18
# Limit of the sorted ranges that wait to be written, of 8 bytes per edge.
_WAITING_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """How the edges of a neighbor matrix will be read and sorted.

    Attributes
    ----------
    row_blocks, column_blocks
        Sizes of the blocks in which the matrix is read.
    max_edges
        Edges that a task sorts at most; one segment of cells may have more.
    n_waiting
        Maximal number of sorted ranges that wait to be written.
    through_scratch
        Whether edges are kept in scratch until they are sorted, or by the workers that read them.
    scratch_bytes
        Upper bound of the edges in scratch, in bytes.
    task_memory, n_workers, memory_budget
        As in an `ExportPlan`.
    """

    row_blocks: Sizes
    column_blocks: Sizes
    max_edges: int
    n_waiting: int
    through_scratch: bool
    scratch_bytes: int
    task_memory: int
    n_workers: int
    memory_budget: int

    def beside(self, plan: ExportPlan) -> ExportPlan:
        """Return the plan of an export that writes these edges before its genes."""
        return replace(
            plan,
            task_memory=max(plan.task_memory, self.task_memory),
            scratch_bytes=max(plan.scratch_bytes, self.scratch_bytes),
            n_workers=self.n_workers,
            memory_budget=self.memory_budget,
        )

    def ranges(self, n_edges: Array) -> Iterator[tuple[int, int]]:
        """Group segments into ranges that a task can sort.

        Parameters
        ----------
        n_edges
            int, (n_segments,): number of edges of each segment.

        Returns
        -------
        iterator of tuple of int
            First segment of a range, and the segment after its last.
        """
        return split_by_cost(n_edges, self.max_edges)


def make_edge_plan(
    layout: Layout, *, memory_budget: int, n_workers: int, shared_disk: bool
) -> EdgePlan:
    """Choose the blocks in which a neighbor matrix is read.

    Parameters
    ----------
    layout
        The square matrix; the selection of its columns is ignored.
    memory_budget
        Bytes for all concurrent tasks together.
    n_workers
        Number of concurrent tasks.
    shared_disk
        Whether all workers can reach the same scratch.
    """
    n_cells = max(layout.shape[0], 1)
    edge_bytes = _EDGE_BYTES + layout.value_nbytes
    available = memory_budget // n_workers // edge_bytes
    stored = n_cells * n_cells if layout.nnz is None else layout.nnz
    max_edges = min(available, _MAX_TASK_BYTES // _EDGE_BYTES, stored // (4 * n_workers))
    max_edges = max(max_edges, min(_MIN_TASK_EDGES, available), 1)
    whole: Sizes = (n_cells,)
    block_values = max_edges
    if layout.fixed_blocks is not None:
        rows, columns = layout.fixed_blocks
    elif layout.indptr is not None:
        # at least the values of a chunk, so that no chunk is read for several blocks
        block_values = max(max_edges, min(layout.chunk[0], available))
        ranges = split_by_count(layout.indptr, block_values, n_cells)
        blocks = tuple(stop - start for start, stop in ranges)
        rows, columns = (blocks, whole) if layout.storage == "csr" else (whole, blocks)
    else:
        height = max(min(layout.chunk[0], available // n_cells), max_edges // n_cells, 1)
        whole_chunks = height // layout.chunk[0] * layout.chunk[0]
        rows, columns = split_evenly(n_cells, whole_chunks or height), whole
        block_values = rows[0] * n_cells
    return EdgePlan(
        row_blocks=rows,
        column_blocks=columns,
        max_edges=max_edges,
        n_waiting=min(max(_WAITING_BYTES // (_KEY_BYTES * max_edges), 1), 2 * n_workers),
        through_scratch=shared_disk,
        # how many values of a dense matrix are edges is not known without reading it
        scratch_bytes=_KEY_BYTES * stored if shared_disk and layout.indptr is not None else 0,
        task_memory=max(block_values, max_edges) * edge_bytes,
        n_workers=n_workers,
        memory_budget=memory_budget,
    )
