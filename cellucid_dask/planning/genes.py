"""The plan of a gene export, from the layout of its matrix and a memory budget."""

from __future__ import annotations

import numpy as np
from dask.utils import format_bytes

from cellucid_dask.encode.genes import working_bytes
from cellucid_dask.encode.kernel_tiles import HEAD
from cellucid_dask.encode.tiles import TILE_CELLS
from cellucid_dask.errors import RequestError
from cellucid_dask.planning.blocks import Blocking, Layout, choose_blocks, split_evenly
from cellucid_dask.planning.plan import ExportPlan
from cellucid_dask.types import Sizes

# Bytes that an encode task gathers from scratch at once.
_GATHER_BYTES = 16 * 2**20
# Where workers keep the tiles, each pair of a row block and an encode block is a task of its own.
_MAX_WORKER_TILES = 40_000
# Typical share of non-zeros in single-cell expression; Dask arrays do not report how many values
# they store.
_USUAL_DENSITY = 0.1


def make_plan(
    layout: Layout,
    *,
    bits: int | None,
    memory_budget: int,
    n_workers: int,
    shared_disk: bool = True,
    shared_memory: int = 0,
    working: int | None = None,
) -> ExportPlan:
    """Choose route and blocks.

    Parameters
    ----------
    layout
        The matrix.
    bits
        8 or 16 bits of quantization; ``None`` for float32.
    memory_budget
        Bytes for all concurrent tasks together.
    n_workers
        Number of concurrent tasks.
    shared_disk
        Whether all workers can reach the same scratch.
    shared_memory
        Bytes of the budget that are in use for the whole run.
    working
        Bytes that an encode task needs beside its tiles; by default for codes of `bits`.

    Raises
    ------
    RequestError
        The budget is too small for the smallest blocks; the message names the smallest budget
        that works.
    """
    per_task = max(memory_budget - shared_memory, 0) // n_workers
    n_cells, _ = layout.shape
    stored = _stored_nbytes(layout)
    encoding = working_bytes(n_cells, bits) if working is None else working
    reading = choose_blocks(layout, per_task - encoding, n_workers)
    encode_blocks = _encode_blocks(layout, reading, n_workers, shared_disk=shared_disk)
    if reading.direct:
        gather = 0
        task = encoding + reading.memory
    else:
        max_gene = n_cells * stored  # every cell may have a value
        gather = max(min(_GATHER_BYTES, per_task - encoding), max_gene)
        if not shared_disk:  # a task receives all tiles of its genes at once
            gather = max(gather, int(max(encode_blocks, default=0) * _gene_nbytes(layout)))
        task = max(reading.memory, encoding + gather)
    plan = ExportPlan(
        shape=layout.shape,
        n_genes=layout.n_selected,
        route="direct" if reading.direct else "scratch" if shared_disk else "workers",
        row_blocks=reading.rows,
        gene_blocks=reading.columns,
        encode_blocks=encode_blocks,
        task_memory=task,
        tile_values=reading.tile_values,
        gather_memory=gather,
        memory_budget=memory_budget,
        n_workers=n_workers,
        scratch_bytes=0 if reading.direct else _scratch_nbytes(layout, reading),
        n_objects=layout.n_selected,
        shared_memory=shared_memory,
    )
    if plan.peak_memory > memory_budget and layout.fixed_blocks is None:
        raise RequestError(
            f"A memory budget of {format_bytes(memory_budget)} is too small for {n_cells:,} cells "
            f"with {n_workers} tasks at once: give at least {-(-plan.peak_memory // 2**20)} MiB, "
            "or fewer workers"
            + (
                ", or a scratch that every worker reaches, such as --scratch s3://bucket/scratch."
                if plan.route == "workers"
                else "."
            )
        )
    return plan


def _stored_nbytes(layout: Layout) -> int:
    """Return the bytes of a value in a tile: itself and, if sparse, its cell."""
    return layout.tile_dtype.itemsize + (0 if layout.storage == "dense" else 2)


def _n_stored(layout: Layout) -> int:
    """Return the number of stored values of the selected genes, estimated if not known."""
    n_cells, n_genes = layout.shape
    values = int(n_cells * n_genes * _USUAL_DENSITY) if layout.nnz is None else layout.nnz
    return values * layout.n_selected // max(n_genes, 1)


def _gene_nbytes(layout: Layout) -> float:
    """Return the mean bytes of a gene in tiles."""
    return _n_stored(layout) * _stored_nbytes(layout) / max(layout.n_selected, 1)


def _encode_blocks(
    layout: Layout, reading: Blocking, n_workers: int, *, shared_disk: bool
) -> Sizes:
    """Return the number of genes per encode task.

    On route ``direct`` these are the selected genes of a column block, else as many as can be
    gathered at once.
    """
    if reading.direct:
        edges = np.cumsum((0, *reading.columns))
        chosen = np.diff(np.searchsorted(layout.columns, edges))
        return tuple(int(count) for count in chosen if count)
    n_selected = layout.n_selected
    genes = min(
        int(_GATHER_BYTES / max(_gene_nbytes(layout), 1)), -(-n_selected // (4 * n_workers))
    )
    genes = max(genes, 1)
    rounds = -(-n_selected // (genes * n_workers))  # as many tasks for each worker
    genes = max(-(-n_selected // max(rounds * n_workers, 1)), 1)
    if not shared_disk:
        genes = max(genes, -(-n_selected * len(reading.rows) // _MAX_WORKER_TILES))
    return split_evenly(n_selected, genes)


def _scratch_nbytes(layout: Layout, reading: Blocking) -> int:
    values = _n_stored(layout)
    if layout.storage == "dense":
        return values * _stored_nbytes(layout)
    tiles = max(values // reading.tile_values, layout.shape[0] // TILE_CELLS, len(reading.rows))
    return values * _stored_nbytes(layout) + tiles * (layout.n_selected + 1) * HEAD.itemsize
