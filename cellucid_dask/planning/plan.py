"""The plan itself: what it says, and how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dask.utils import format_bytes

from cellucid_dask.display import table
from cellucid_dask.types import Sizes

Route = Literal["direct", "scratch", "workers"]


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
    tile_values
        Stored values of a tile, which is transposed at once.
    gather_memory
        Bytes of stored values that a gene task gathers at once.
    batch_memory
        Bytes that the vectors and values of a batch of genes take.
    peak_memory
        Bytes that all tasks in flight are projected to hold together, beyond what an
        idle process takes.
    shared_memory
        Bytes that all tasks share, of totals of the cells.
    memory_budget
        What `peak_memory` had to fit in.
    peak_rss
        Projected resident memory of this process: `peak_memory`, and what it holds
        without any task.
    scratch_bytes
        Size of all tiles together.
    n_tasks
        Tasks of the graph.
    embeddings
        By dimension, the obsm key that it is shown from.
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
    batch_memory: int
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
        """Return the plan of an export that has no expression."""
        return cls(
            shape=(n_cells, 0), n_genes=0, route="direct", row_blocks=(), gene_blocks=(),
            encode_blocks=(), task_memory=0, tile_values=0, gather_memory=0, batch_memory=0,
            memory_budget=0, n_workers=1, scratch_bytes=0, n_objects=0,
        )  # fmt: skip

    @property
    def peak_memory(self) -> int:
        """Projected bytes of all tasks in flight."""
        return self.task_memory * self.n_workers + self.shared_memory

    @property
    def n_reads(self) -> int:
        """Tasks that read cells to wait as tiles; none on route ``direct``."""
        return 0 if self.route == "direct" else len(self.row_blocks) * len(self.gene_blocks)

    @property
    def n_tasks(self) -> int:
        """Tasks of the graph."""
        blocks, encodes = len(self.row_blocks) * len(self.gene_blocks), len(self.encode_blocks)
        pieces = {"direct": 0, "scratch": blocks, "workers": blocks * (encodes + 1)}
        return pieces[self.route] + encodes

    def __str__(self) -> str:
        """Return the plan as a few aligned lines."""
        return "\n".join(f"{name:8} {text}" for name, text in self._rows().items())

    def _repr_html_(self) -> str:
        return table("Plan of an export", self._rows().items())

    def _rows(self) -> dict[str, str]:
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
            "peak_rss": self.peak_rss,
            "memory_budget": self.memory_budget,
            "scratch_bytes": self.scratch_bytes,
            "n_objects": self.n_objects,
            "output_bytes": self.output_bytes,
            "embeddings": {f"{d}d": key for d, key in self.embeddings.items()},
        }


_ROUTES = {
    "direct": "gene blocks are read, encoded and written",
    "scratch": "row blocks are read once and wait, transposed, on disk",
    "workers": "row blocks are read once and wait, transposed, with the workers",
}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
