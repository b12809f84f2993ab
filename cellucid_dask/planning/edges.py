"""How a neighbor graph is cut so that its edges are sorted in a fixed memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cellucid_dask.planning.blocks import Layout, split_by_cost, split_by_count, split_evenly
from cellucid_dask.planning.plan import ExportPlan
from cellucid_dask.types import Array, Sizes

# Bytes an edge takes while it is read or sorted: its two cells, its key, copies, marks.
_EDGE_BYTES = 64
_KEY_BYTES = 8
# A task sorts no more than about this many bytes, nor so few that starting it counts.
_MOST_BYTES = 128 * 2**20
_FEW_EDGES = 2**18
# Sorted ranges on their way to the file take this much at most, and 8 bytes an edge.
_WAITING_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """How the edges of a graph will be read and sorted.

    Attributes
    ----------
    row_blocks, column_blocks
        Sizes of the blocks that the matrix is read in.
    most_edges
        How many a task takes, unless one segment of cells has more.
    n_waiting
        How many sorted ranges may wait to be written.
    through_scratch
        Whether edges wait in scratch to be sorted, or with the workers that read them.
    scratch_bytes
        What they take there at the most.
    task_memory, n_workers, memory_budget
        As in an `ExportPlan`.
    """

    row_blocks: Sizes
    column_blocks: Sizes
    most_edges: int
    n_waiting: int
    through_scratch: bool
    scratch_bytes: int
    task_memory: int
    n_workers: int
    memory_budget: int

    def beside(self, plan: ExportPlan) -> ExportPlan:
        """Return the plan of an export that writes this graph first, and then its genes."""
        return replace(
            plan,
            task_memory=max(plan.task_memory, self.task_memory),
            scratch_bytes=max(plan.scratch_bytes, self.scratch_bytes),
            n_workers=self.n_workers,
            memory_budget=self.memory_budget,
        )

    def ranges(self, n_edges: Array) -> Iterator[tuple[int, int]]:
        """Cut segments, of which each has so many edges, into ranges that a task can sort."""
        yield from split_by_cost(n_edges, self.most_edges)


def make_edge_plan(
    layout: Layout, *, memory_budget: int, n_workers: int, shared_disk: bool
) -> EdgePlan:
    """Choose blocks.

    Parameters
    ----------
    layout
        The square matrix; its columns are not looked at.
    memory_budget
        Bytes that all tasks in flight may hold together.
    n_workers
        Tasks in flight.
    shared_disk
        Whether all workers reach one scratch.
    """
    n_cells = max(layout.shape[0], 1)
    edge_bytes = _EDGE_BYTES + layout.value_nbytes
    room = memory_budget // n_workers // edge_bytes
    most = min(room, _MOST_BYTES // _EDGE_BYTES)
    stored = n_cells * n_cells if layout.nnz is None else layout.nnz
    most = max(min(most, stored // (4 * n_workers)), min(_FEW_EDGES, room), 1)
    whole: Sizes = (n_cells,)
    values = most  # of a block
    if layout.fixed_blocks is not None:
        rows, columns = layout.fixed_blocks
    elif layout.indptr is not None:
        # what one read brings anyway is not read again
        values = max(most, min(layout.chunk[0], room))
        cuts = split_by_count(layout.indptr, values, n_cells)
        rows, columns = (cuts, whole) if layout.storage == "csr" else (whole, cuts)
    else:
        height = max(min(layout.chunk[0], room // n_cells), most // n_cells, 1)
        whole_chunks = height // layout.chunk[0] * layout.chunk[0]
        rows, columns = split_evenly(n_cells, whole_chunks or height), whole
        values = rows[0] * n_cells
    return EdgePlan(
        row_blocks=rows,
        column_blocks=columns,
        most_edges=most,
        n_waiting=min(max(_WAITING_BYTES // (_KEY_BYTES * most), 1), 2 * n_workers),
        through_scratch=shared_disk,
        # how many of a dense matrix are edges only reading would tell
        scratch_bytes=_KEY_BYTES * stored if shared_disk and layout.indptr is not None else 0,
        task_memory=max(values, most) * edge_bytes,
        n_workers=n_workers,
        memory_budget=memory_budget,
    )
