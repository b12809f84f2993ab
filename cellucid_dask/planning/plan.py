"""The plan of an export: its figures, and their presentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dask.utils import format_bytes

from cellucid_dask.display import printable, table
from cellucid_dask.types import Sizes

Route = Literal["direct", "scratch", "workers"]


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """The plan of an export: how it will run.

    Attributes
    ----------
    shape
        (cells, genes) of the matrix.
    n_genes
        Number of genes to export.
    route
        ``"direct"``, ``"scratch"`` or ``"workers"``.
    row_blocks, gene_blocks
        Sizes of the blocks in which the matrix is read.
    encode_blocks
        Number of exported genes of each encode task.
    task_memory
        Estimated peak memory of a task, in bytes.
    tile_values
        Maximum number of stored values in a tile.
    gather_memory
        Size of the stored values that an encode task collects at once, in bytes.
    peak_memory
        Estimated peak memory of all concurrent tasks, in bytes, in addition to that of an idle
        process.
    shared_memory
        Memory that all tasks share, in bytes: the totals of all cells.
    memory_budget
        Limit of `peak_memory`, in bytes.
    n_workers
        Number of concurrent tasks.
    peak_rss
        Estimated resident memory of this process, in bytes: `peak_memory` and the memory of the
        idle process.
    scratch_bytes
        Size of all tiles, in bytes.
    n_objects
        Number of files of the export.
    output_bytes
        Estimated size of the export, in bytes. ``None`` without an estimate.
    n_tasks
        Number of tasks in the graph.
    embeddings
        obsm key of the selected embedding, by dimension.
    """

    shape: tuple[int, int]
    n_genes: int
    route: Route
    row_blocks: Sizes
    gene_blocks: Sizes
    encode_blocks: Sizes
    task_memory: int
    tile_values: int
    gather_memory: int
    memory_budget: int
    n_workers: int
    scratch_bytes: int
    n_objects: int
    shared_memory: int = 0
    output_bytes: int | None = None
    peak_rss: int | None = None
    embeddings: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def without_genes(cls, n_cells: int) -> ExportPlan:
        """Return the plan of an export without expression."""
        return cls(
            shape=(n_cells, 0), n_genes=0, route="direct", row_blocks=(), gene_blocks=(),
            encode_blocks=(), task_memory=0, tile_values=0, gather_memory=0, memory_budget=0,
            n_workers=1, scratch_bytes=0, n_objects=0,
        )  # fmt: skip

    @property
    def peak_memory(self) -> int:
        """Estimated peak memory of all concurrent tasks, in bytes."""
        return self.task_memory * self.n_workers + self.shared_memory

    @property
    def n_reads(self) -> int:
        """Number of tasks that read cells into tiles for other tasks; 0 on route ``direct``."""
        return 0 if self.route == "direct" else len(self.row_blocks) * len(self.gene_blocks)

    @property
    def n_tasks(self) -> int:
        """Number of tasks in the graph."""
        reads, encodes = self.n_reads, len(self.encode_blocks)
        return encodes + (reads * (encodes + 1) if self.route == "workers" else reads)

    def __str__(self) -> str:
        """Return the plan as a few aligned lines."""
        return printable("\n".join(f"{name:8} {text}" for name, text in self._rows().items()))

    def _repr_html_(self) -> str:
        return table("Plan of an export", self._rows().items())

    def _rows(self) -> dict[str, str]:
        cells, genes = self.shape
        n_blocks = len(self.row_blocks) * len(self.gene_blocks)
        rows, columns = max(self.row_blocks, default=0), max(self.gene_blocks, default=0)
        encodes = max(self.encode_blocks, default=0)
        tasks = _count(self.n_workers, "task")
        lines = {
            "matrix": f"{cells:,} cells x {genes:,} genes, {self.n_genes:,} exported",
            "route": f"{self.route}: {_ROUTES[self.route]}",
            "reads": f"{_count(n_blocks, 'block')} of at most {rows:,} cells x {columns:,} genes",
            "encodes": f"{_count(len(self.encode_blocks), 'block')} of at most {encodes:,} genes",
            "memory": f"{format_bytes(self.peak_memory)} for {tasks} at once, "
            f"of a budget of {format_bytes(self.memory_budget)}"
            + (f"; {format_bytes(self.peak_rss)} with the process itself" if self.peak_rss else ""),
            "scratch": format_bytes(self.scratch_bytes),
            "objects": f"{self.n_objects:,}",
        }
        if self.embeddings:
            chosen = (f"{d}D from {key}" for d, key in self.embeddings.items())
            lines["shows"] = ", ".join(chosen)
        if self.output_bytes is not None:
            lines["output"] = f"about {format_bytes(self.output_bytes)}"
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of the plan as a dict for JSON."""
        return {
            "n_cells": self.shape[0],
            "n_genes": self.n_genes,
            "route": self.route,
            "n_row_blocks": len(self.row_blocks),
            "n_gene_blocks": len(self.gene_blocks),
            "n_encode_blocks": len(self.encode_blocks),
            "n_tasks": self.n_tasks,
            "peak_memory": self.peak_memory,
            "peak_rss": self.peak_rss,
            "memory_budget": self.memory_budget,
            "scratch_bytes": self.scratch_bytes,
            "n_objects": self.n_objects,
            "output_bytes": self.output_bytes,
            "embeddings": {f"{d}d": key for d, key in self.embeddings.items()},
        }


_ROUTES = {
    "direct": "gene blocks are read, encoded and written",
    "scratch": "row blocks are read once, transposed, and stored on disk",
    "workers": "row blocks are read once, transposed, and held by the workers",
}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
