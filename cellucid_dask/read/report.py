"""What `verify` returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cellucid_dask.display import printable, table


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """The result of `verify`.

    Attributes
    ----------
    target
        Path or URL of the export.
    n_cells, n_genes
        Number of cells and genes of the export.
    n_files
        Number of binary files that were read and checked.
    n_compared
        Number of genes that were compared with the source.
    n_findings
        Number of findings, each of which is an error in the export.
    findings
        The first 50 findings, one line each.
    has_checksums
        Whether the export has checksums. Without them, as in exports of other programs, some
        changes of files cannot be detected.
    listed
        Whether the store could list its files. Otherwise, left-over files cannot be detected.
    seconds
        Wall time in seconds.
    """

    target: str
    n_cells: int
    n_genes: int
    n_files: int
    n_compared: int
    n_findings: int
    findings: tuple[str, ...]
    has_checksums: bool
    listed: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether there are no findings."""
        return not self.n_findings

    def __str__(self) -> str:
        """Summarize the report, with one line per finding."""
        lines = [f"{name:9} {text}" for name, text in self._rows()]
        return printable("\n".join([*lines, *(f"- {finding}" for finding in self.findings)]))

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def _repr_html_(self) -> str:
        findings = [("", finding) for finding in self.findings]
        return table(f"Verification of {self.target}", [*self._rows(), *findings])

    def _rows(self) -> list[tuple[str, str]]:
        plural = "s" if self.n_findings > 1 else ""
        verdict = "ok" if self.ok else f"{self.n_findings:,} finding{plural}"
        if len(self.findings) < self.n_findings:
            verdict += f", of which the first {len(self.findings)}"
        checked = f"{self.n_files:,} files in {self.seconds:.1f} s"
        if self.n_compared:
            checked += f"; {self.n_compared:,} genes compared with their source"
        if not self.has_checksums:
            checked += "; the export has no checksums"
        if not self.listed:
            checked += "; left-over files were not checked"
        return [
            ("export", self.target),
            ("holds", f"{self.n_cells:,} cells x {self.n_genes:,} genes"),
            ("checked", checked),
            ("verdict", verdict),
        ]
