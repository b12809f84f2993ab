"""Checking an export against itself, and against the source it came from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cellucid_dask.display import table
from cellucid_dask.errors import RequestError
from cellucid_dask.format import names
from cellucid_dask.read.compare import compare_genes
from cellucid_dask.read.scan import Found, damaged, disagreements, misplaced
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.cluster import blocking_client
from cellucid_dask.source import open_source
from cellucid_dask.store.target import Target

# How many findings are told; all are counted.
_TOLD = 50
_COMPARED = 100


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    target
        Path or URL.
    n_cells, n_genes
        Of the export.
    n_files
        Binary files that were read and checked.
    n_compared
        Genes that were compared with the source.
    n_findings
        How many things are wrong.
    findings
        The first of them, one line each.
    listed
        Whether the store could list its files, as the search for left-over ones needs.
    seconds
        Wall time.
    """

    target: str
    n_cells: int
    n_genes: int
    n_files: int
    n_compared: int
    n_findings: int
    findings: tuple[str, ...]
    listed: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.n_findings

    def __str__(self) -> str:
        """Return the outcome in one line, and the findings in one each."""
        lines = [f"{name:9} {text}" for name, text in self._rows()]
        return "\n".join([*lines, *(f"- {finding}" for finding in self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def _repr_html_(self) -> str:
        findings = [("", finding) for finding in self.findings]
        return table(f"Verification of {self.target}", [*self._rows(), *findings])

    def _rows(self) -> list[tuple[str, str]]:
        told = len(self.findings)
        verdict = "ok" if self.ok else f"{self.n_findings:,} findings"
        if told < self.n_findings:
            verdict += f", of which the first {told}"
        checked = f"{self.n_files:,} files in {self.seconds:.1f} s"
        if self.n_compared:
            checked += f"; {self.n_compared:,} genes compared with their source"
        if not self.listed:
            checked += "; left-over files could not be looked for"
        return [
            ("export", self.target),
            ("holds", f"{self.n_cells:,} cells x {self.n_genes:,} genes"),
            ("checked", checked),
            ("verdict", verdict),
        ]


@blocking_client()
def verify(
    target: str | os.PathLike[str],
    source: Any = None,
    *,
    genes: int | str | None = None,
    layer: str = "X",
    memory_budget: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    source_storage_options: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Check an export, and compare it with its source if that is given.

    Every file that the documents name must be there, be as long as it must, and hold legal
    values only; documents must agree with each other; nothing else may lie there. Genes are
    read by Dask tasks, on whatever scheduler is active.

    Parameters
    ----------
    target
        Folder or URL of the export.
    source
        What it was made of, as in `export`: decoded values must lie within half a
        quantization step of the layer's.
    genes
        How many genes to read and compare, evenly spread over the manifest, or ``"all"``.
        By default all are read, and 100 compared with the source. Files of genes that
        are not read must still exist.
    layer
        Of the source: ``"X"``, ``"raw"`` or a layer's name. The export does not say.
    memory_budget
        What comparing may take, as in `export`.
    storage_options, source_storage_options
        fsspec options for URLs.

    Returns
    -------
    VerifyReport
        What is wrong, if anything.

    Raises
    ------
    RequestError
        There is no export, or no such source, layer or genes in it.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> report = cd.verify("exports/atlas", "atlas.h5ad", genes="all")
    >>> report.ok, report.n_compared
    (True, 40)
    """
    started = time.perf_counter()
    most = _most(genes)
    place = Target.of(target, storage_options or {})
    export = Found.read(place)
    known = export.parts.get(names.VAR_MANIFEST)
    ids = list(known.vectors) if known else []
    told = _Findings()
    told.add(export.damage)
    told.add(disagreements(export))
    vectors = known.vectors if known else {}
    unread = {vectors[gene].path for gene in set(ids) - set(_spread(ids, most))}
    files = [file for file in export.files if file.path not in unread]
    told.add(misplaced(export))
    told.add(damaged(export, files))
    compared: list[str] = []
    if source is not None and known is not None:
        compared = _spread(ids, most if genes is not None else _COMPARED)
        options = {
            "layer": layer,
            "memory_budget": memory_budget,
            "genes_only": True,
            "make_genes_unique": True,  # as they were, if the source's are not
            "skip_missing_genes": True,
            "var_gene_id_column": known.id_column,
        }
        settings = Settings.of(options | export.normalization)
        opened = open_source(source, source_storage_options)
        if opened.n_cells != known.n_cells:
            told.add([f"the source has {opened.n_cells:,} cells, the export {known.n_cells:,}"])
            compared = []
        else:
            sizes = export.listing or {}
            told.add(compare_genes(place, known, compared, opened, settings, sizes))
    return VerifyReport(
        target=place.url,
        n_cells=export.n_cells,
        n_genes=len(ids),
        n_files=len(files),
        n_compared=len(compared),
        n_findings=told.count,
        findings=tuple(told.first),
        listed=export.listing is not None,
        seconds=time.perf_counter() - started,
    )


def _most(genes: int | str | None) -> int | None:
    if genes is None or genes == "all":
        return None
    if isinstance(genes, bool | str) or genes < 1:
        raise RequestError(f"genes is {genes!r}: give a number of 1 or more, or 'all'.")
    return genes


def _spread(genes: Sequence[str], most: int | None) -> list[str]:
    """Choose genes evenly over their order: the same ones every time."""
    if most is None or most >= len(genes):
        return list(genes)
    return [genes[i] for i in np.linspace(0, len(genes) - 1, most).round().astype(int)]


class _Findings:
    """How many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, findings: Iterable[str]) -> None:
        """Note findings, each in one line whatever the names in it hold."""
        for finding in findings:
            self.count += 1
            if self.count <= _TOLD:
                self.first.append("".join(c if c.isprintable() else "\ufffd" for c in finding))
