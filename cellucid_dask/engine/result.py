"""What an export returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dask.utils import format_bytes, format_time

from cellucid_dask.display import printable, table


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """The summary of an export, with the time and memory that it took.

    Attributes
    ----------
    target
        Path or URL of the export.
    n_cells, n_genes
        Number of cells and genes.
    n_objects, nbytes
        Number of binary files written, and their total size in bytes.
    scratch_bytes
        Number of bytes written to scratch.
    seconds
        Wall time in seconds.
    peak_rss
        Peak resident memory of this process so far, in bytes.
    warnings
        The messages of all warnings.
    embeddings
        obsm key of the selected embedding, by dimension.
    was_complete
        Whether a run that resumes found the export complete, and wrote nothing.
    """

    target: str
    n_cells: int
    n_genes: int
    n_objects: int
    nbytes: int
    scratch_bytes: int
    seconds: float
    peak_rss: int
    warnings: tuple[str, ...]
    embeddings: Mapping[int, str] = field(default_factory=dict)
    was_complete: bool = False

    def __str__(self) -> str:
        """Return one line to print."""
        if self.was_complete:
            size = f"{self.n_cells:,} cells x {self.n_genes:,} genes"
            text = f"{size}: the export is complete, nothing to do: {self.target}"
            return printable(text)
        return printable(
            f"{self.n_cells:,} cells x {self.n_genes:,} genes in {self.n_objects:,} files of "
            f"{format_bytes(self.nbytes)}, {format_time(self.seconds)}, "
            f"peak memory {format_bytes(self.peak_rss)}"
            f"{self._shows and f', {self._shows}'}: {self.target}"
        )

    @property
    def _shows(self) -> str:
        return ", ".join(f"{d}D from {key}" for d, key in self.embeddings.items())

    def _repr_html_(self) -> str:
        rows = {
            "cells": f"{self.n_cells:,}",
            "genes": f"{self.n_genes:,}",
            "files": f"{self.n_objects:,} of {format_bytes(self.nbytes)}",
            "time": format_time(self.seconds),
            "peak memory": format_bytes(self.peak_rss),
        }
        if self.embeddings:
            rows["shows"] = self._shows
        notes = [("warning", text) for text in self.warnings]
        return table(f"Export to {self.target}", [*rows.items(), *notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return asdict(self) | {"embeddings": {f"{d}d": key for d, key in self.embeddings.items()}}
