"""The plan: how a matrix is cut so that the work fits a fixed memory. Pure, no data read.

A matrix stored gene after gene (CSC, column chunks) goes straight through: route
``direct``. One stored cell after cell is read once; its parts wait in scratch for the
pass over the genes: route ``scratch``, or ``workers`` where the workers of a cluster
share no disk and hold the parts themselves. Reading a compressed matrix a second time
costs more than writing and reading scratch, so there is no other way through.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cellucid_dask.errors import RequestError
from cellucid_dask.genes.parts import PART_CELLS, PART_NONZEROS, value_dtype
from cellucid_dask.genes.vectors import RUN_VALUES

Array = np.ndarray[Any, np.dtype[Any]]
Route = Literal["direct", "scratch", "workers"]
Sizes = tuple[int, ...]

# Bytes a value takes on its way from codes to a vector: position, two scales, float64, marks.
STEP_BYTES = 48
# Larger blocks than this gain nothing.
_TASK_BYTES = 32 * 2**20
_READ_BYTES = 16 * 2**20
# Vectors of a batch this large still mostly stay in cache.
_BATCH_BYTES = 8 * 2**20
_MOST_BLOCKS = 20_000
# With parts held by workers each pair of blocks is a task of its own.
_MOST_WORKER_PIECES = 40_000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What planning knows of a matrix.

    Attributes
    ----------
    shape, dtype, storage
        As the source has them.
    columns
        The genes to export, ascending.
    indptr
        Of a sparse matrix that is read by slices: int, (n_major + 1,).
    chunk
        Rows and columns that come with one read of a dense matrix; stored values of a
        sparse one (first entry).
    value_nbytes
        Bytes of a stored value, with its index if sparse.
    row_major
        Whether a dense matrix is cheaper to read along rows.
    fixed_blocks
        Block sizes of a Dask array, which cannot be chosen.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    storage: Literal["csr", "csc", "dense"]
    columns: Array
    value_nbytes: int
    indptr: Array | None = None
    chunk: tuple[int, int] = (1, 1)
    row_major: bool = True
    fixed_blocks: tuple[Sizes, Sizes] | None = None

    @property
    def n_selected(self) -> int:
        """How many genes are exported."""
        return len(self.columns)

    @property
    def nnz(self) -> int | None:
        """Stored values; ``None`` when only reading would tell."""
        if self.storage == "dense":
            return self.shape[0] * self.shape[1]
        return None if self.indptr is None else int(self.indptr[-1])


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """How an export will run.

    Attributes
    ----------
    route
        ``"direct"``, ``"scratch"`` or ``"workers"``.
    row_blocks, gene_blocks
        Sizes of the blocks that the matrix is read in.
    encode_blocks
        How many selected genes each encoding task takes.
    task_memory
        Bytes that the largest task is projected to hold.
    batch_memory
        Bytes a gene task may hold while it goes through its genes batch by batch.
    peak_memory
        Bytes that all tasks in flight are projected to hold together, beyond what an
        idle process takes.
    memory_budget
        What `peak_memory` had to fit in.
    scratch_bytes
        Size of all parts together.
    n_tasks
        Tasks of the graph.
    """

    shape: tuple[int, int]
    n_genes: int
    route: Route
    row_blocks: Sizes
    gene_blocks: Sizes
    encode_blocks: Sizes
    task_memory: int
    batch_memory: int
    memory_budget: int
    n_workers: int
    scratch_bytes: int
    n_objects: int
    output_bytes: int | None = None

    @classmethod
    def without_genes(cls, n_cells: int) -> ExportPlan:
        """Return the plan of an export that has no expression."""
        return cls(
            shape=(n_cells, 0), n_genes=0, route="direct", row_blocks=(), gene_blocks=(),
            encode_blocks=(), task_memory=0, batch_memory=0, memory_budget=0, n_workers=1,
            scratch_bytes=0, n_objects=0,
        )  # fmt: skip

    @property
    def peak_memory(self) -> int:
        """Projected bytes of all tasks in flight."""
        return self.task_memory * self.n_workers

    @property
    def n_tasks(self) -> int:
        """Tasks of the graph."""
        blocks = len(self.row_blocks) * len(self.gene_blocks)
        if self.route == "workers":
            return 2 * blocks + (blocks + 1) * len(self.encode_blocks)
        return 2 * blocks + len(self.encode_blocks)

    def __str__(self) -> str:
        """Return the plan as a few aligned lines."""
        cells, genes = self.shape
        n_blocks = len(self.row_blocks) * len(self.gene_blocks)
        rows, columns = max(self.row_blocks, default=0), max(self.gene_blocks, default=0)
        widest = max(self.encode_blocks, default=0)
        tasks = _count(self.n_workers, "task")
        lines = {
            "matrix": f"{cells:,} cells x {genes:,} genes, {self.n_genes:,} exported",
            "route": f"{self.route}: {_ROUTES[self.route]}",
            "reads": f"{_count(n_blocks, 'block')} of at most {rows:,} cells x {columns:,} genes",
            "encodes": f"{_count(len(self.encode_blocks), 'block')} of at most {widest:,} genes",
            "memory": f"{size(self.peak_memory)} for {tasks} at once, "
            f"of a budget of {size(self.memory_budget)}",
            "scratch": size(self.scratch_bytes),
            "objects": f"{self.n_objects:,}",
        }
        if self.output_bytes is not None:
            lines["output"] = f"about {size(self.output_bytes)}"
        return "\n".join(f"{name:8} {text}" for name, text in lines.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the plan's figures for JSON."""
        return {
            "n_cells": self.shape[0],
            "n_genes": self.n_genes,
            "route": self.route,
            "n_row_blocks": len(self.row_blocks),
            "n_gene_blocks": len(self.gene_blocks),
            "n_encode_blocks": len(self.encode_blocks),
            "n_tasks": self.n_tasks,
            "peak_memory": self.peak_memory,
            "memory_budget": self.memory_budget,
            "scratch_bytes": self.scratch_bytes,
            "n_objects": self.n_objects,
            "output_bytes": self.output_bytes,
        }


_ROUTES = {
    "direct": "gene blocks are read, encoded and written",
    "scratch": "row blocks are read once and wait, transposed, on disk",
    "workers": "row blocks are read once and wait, transposed, with the workers",
}


def size(nbytes: float) -> str:
    """Return a size to read: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def make_plan(
    layout: Layout,
    *,
    vector_nbytes: int,
    memory_budget: int,
    n_workers: int,
    shared_disk: bool = True,
) -> ExportPlan:
    """Choose route and blocks.

    Parameters
    ----------
    layout
        The matrix.
    vector_nbytes
        Bytes of a code: 1, 2 or 4.
    memory_budget
        Bytes that all tasks in flight may hold together.
    n_workers
        Tasks in flight.
    shared_disk
        Whether all workers reach one scratch.

    Raises
    ------
    RequestError
        The budget is too small for the smallest blocks; the message says what works.
    """
    per_task = memory_budget // n_workers
    n_cells, n_genes = layout.shape
    # a vector, its compressed copy, and the working memory of one run of values
    per_gene = n_cells * 2 * vector_nbytes
    fixed = RUN_VALUES * STEP_BYTES
    item = value_dtype(layout.dtype).itemsize
    if layout.fixed_blocks is not None:
        rows, columns = layout.fixed_blocks
        direct, read = len(rows) == 1, _fixed_memory(layout)
    else:
        direct, rows, columns, read = _choose_blocks(layout, per_task - fixed - per_gene)
    # the least a gene takes at once: from scratch, every cell may hold a value
    stored = item if layout.storage == "dense" else item + 2
    least = per_gene + (0 if direct else n_cells * stored)
    room = per_task - fixed - (read if direct else 0)
    batch = max(min(_BATCH_BYTES, room), least)
    task = fixed + (read + batch if direct else max(read, batch))
    if direct:
        encode: Sizes = _selected_blocks(columns, layout.n_selected, n_genes)
    else:
        n_row_blocks = 0 if shared_disk else len(rows)
        encode = _encode_blocks(layout, per_gene, stored, n_workers, n_row_blocks)
    plan = ExportPlan(
        shape=layout.shape,
        n_genes=layout.n_selected,
        route="direct" if direct else "scratch" if shared_disk else "workers",
        row_blocks=rows,
        gene_blocks=columns,
        encode_blocks=encode,
        task_memory=task,
        batch_memory=batch,
        memory_budget=memory_budget,
        n_workers=n_workers,
        scratch_bytes=0 if direct else _scratch_bytes(layout, item),
        n_objects=layout.n_selected,
    )
    if plan.peak_memory > memory_budget and layout.fixed_blocks is None:
        raise RequestError(
            f"A memory budget of {size(memory_budget)} is too small for {n_cells:,} cells with "
            f"{n_workers} tasks at once: give at least {-(-plan.peak_memory // 2**20)} MiB, "
            "or fewer workers."
        )
    return plan


def _fixed_memory(layout: Layout) -> int:
    """Bytes of the largest block of a Dask array, as far as they can be known."""
    rows, columns = layout.fixed_blocks or ((0,), (0,))
    values = max(rows) * max(columns)
    return values * layout.dtype.itemsize if layout.storage == "dense" else 0


def _choose_blocks(layout: Layout, room: int) -> tuple[bool, Sizes, Sizes, int]:
    """Choose direct or not, the row and column blocks, and the bytes a read holds."""
    if layout.storage == "dense":
        return _dense_blocks(layout, room)
    n_cells, n_genes = layout.shape
    indptr = np.asarray(layout.indptr)
    # stored values and indices, then once more transposed, plus the rims of two chunks
    per_value = layout.value_nbytes + (6 + value_dtype(layout.dtype).itemsize)
    rim = 2 * layout.chunk[0] * layout.value_nbytes + PART_NONZEROS * 16
    most = min(max(room - rim, 0), _READ_BYTES) // per_value
    most = max(most, int(indptr[-1]) // _MOST_BLOCKS if layout.storage == "csr" else 1, 1)
    widest = PART_CELLS * 16 if layout.storage == "csr" else n_genes
    cuts = _cuts(layout.columns, n_genes) if layout.storage == "csc" else [0, n_cells]
    blocks = tuple(
        itertools.chain.from_iterable(
            _by_count(indptr[start : stop + 1], most, widest)
            for start, stop in itertools.pairwise(cuts)
        )
    )
    read = rim + per_value * _largest(indptr, blocks)
    if layout.storage == "csc":
        return True, (n_cells,), blocks, read
    return len(blocks) == 1, blocks, (n_genes,), read


def _dense_blocks(layout: Layout, room: int) -> tuple[bool, Sizes, Sizes, int]:
    n_cells, n_genes = layout.shape
    chunk_rows, chunk_columns = (
        min(size, limit) for size, limit in zip(layout.chunk, layout.shape, strict=True)
    )
    item = layout.dtype.itemsize
    per_value = 2 * item + 4  # as stored, decoded, transposed
    most = min(max(room, 0), _READ_BYTES) // per_value
    column_wise = chunk_columns < n_genes and (chunk_rows > 1 or chunk_columns > 1)
    width = chunk_columns if column_wise else 1
    if n_cells * n_genes <= most:
        return True, (n_cells,), (n_genes,), n_cells * n_genes * per_value
    if (column_wise or not layout.row_major) and n_cells * width * per_value <= max(room, 0):
        width *= max(1, most // (n_cells * width))
        return True, (n_cells,), _even(n_genes, width), n_cells * width * per_value
    height = chunk_rows * max(1, most // (n_genes * chunk_rows))
    return False, _even(n_cells, height), (n_genes,), min(height, n_cells) * n_genes * per_value


def _cuts(columns: Array, n_genes: int) -> list[int]:
    """Cut around runs of selected genes, so that the genes between them are not read."""
    gaps = np.flatnonzero(np.diff(columns) > 1)
    edges = [0, *columns[:1], *columns[gaps] + 1, *columns[gaps + 1], *columns[-1:] + 1, n_genes]
    return [int(edge) for edge in np.unique(edges)]


def _by_count(indptr: Array, most: int, widest: int) -> Sizes:
    """Cut so that a block holds at most `most` values, but at least one row."""
    sizes, start, end = [], 0, len(indptr) - 1
    while start < end:
        stop = int(np.searchsorted(indptr, indptr[start] + most, side="right")) - 1
        stop = min(max(stop, start + 1), start + widest, end)
        sizes.append(stop - start)
        start = stop
    return tuple(sizes)


def _largest(indptr: Array, blocks: Sequence[int]) -> int:
    ends = np.cumsum((0, *blocks))
    return int(np.diff(indptr[ends]).max(initial=0))


def _even(total: int, width: int) -> Sizes:
    return tuple(min(width, total - start) for start in range(0, total, width))


def _selected_blocks(columns: Sizes, n_selected: int, n_genes: int) -> Sizes:
    """Estimate how many selected genes fall in each column block."""
    return tuple(-(-size * n_selected // n_genes) for size in columns)


def _encode_blocks(
    layout: Layout, per_gene: int, stored: int, n_workers: int, n_row_blocks: int
) -> Sizes:
    """Genes a task: enough work to be worth a task, and some tasks for every worker."""
    n_cells, n_genes = layout.shape
    values = n_cells if layout.nnz is None else layout.nnz / max(n_genes, 1)
    genes = max(1, int(_TASK_BYTES / (per_gene + values * stored)))
    genes = min(genes, -(-layout.n_selected // (4 * n_workers)))
    genes = max(genes, -(-layout.n_selected * n_row_blocks // _MOST_WORKER_PIECES), 1)
    return _even(layout.n_selected, genes)


def _scratch_bytes(layout: Layout, item: int) -> int:
    n_cells, n_genes = layout.shape
    share = layout.n_selected / max(n_genes, 1)
    if layout.storage == "dense":
        return n_cells * layout.n_selected * item
    if layout.nnz is None:
        return int(0.1 * n_cells * layout.n_selected * (item + 2))
    parts = max(layout.nnz / PART_NONZEROS, n_cells / PART_CELLS)
    return int(share * layout.nnz * (item + 2) + parts * (layout.n_selected + 1) * 4)
