"""Checking an export, and comparing it with its source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from cellucid_dask.display import printable
from cellucid_dask.errors import RequestError, phrase
from cellucid_dask.format import names
from cellucid_dask.format.invariants import disagreements
from cellucid_dask.format.schema import Genes
from cellucid_dask.output.cellucid_zarr.store import is_store
from cellucid_dask.read import zarr_compare, zarr_verify
from cellucid_dask.read.compare import compare_genes
from cellucid_dask.read.compare_fields import compare_fields, fields_settings
from cellucid_dask.read.known import check_known
from cellucid_dask.read.report import VerifyReport
from cellucid_dask.read.scan import ScannedExport, damaged, misplaced
from cellucid_dask.read.zarr_verify import CheckedStore
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.cluster import blocking_client
from cellucid_dask.runtime.patience import waiting_at_most
from cellucid_dask.runtime.progress import show_progress
from cellucid_dask.source import open_source
from cellucid_dask.source.base import Source
from cellucid_dask.store.target import Target
from cellucid_dask.types import PathOrUrl

_Genes = int | str | Sequence[str] | None
_MAX_LISTED = 50  # findings in a report; all are counted
_N_COMPARED = 100  # genes compared with the source by default


@blocking_client()
def verify(
    target: PathOrUrl,
    source: Any = None,
    *,
    genes: int | str | Sequence[str] | None = None,
    layer: str | None = None,
    memory_budget: int | str | None = None,
    timeout: float | str = "10m",
    storage_options: Mapping[str, Any] | None = None,
    source_storage_options: Mapping[str, Any] | None = None,
    allow_links: bool = False,
    progress: bool = True,
) -> VerifyReport:
    """Check an export, and optionally compare it with its source.

    All files that the documents name must exist, have the right size and contain only valid
    values, the documents must be consistent, and there must be no other files. Genes are
    read in Dask tasks on the active scheduler.

    Parameters
    ----------
    target
        Folder or URL of the export.
    source
        The source of the export, as in `export`. Decoded values must lie within half a
        quantization step of those of the source.
    genes
        Names of the genes to read and compare, or a number of them, evenly spread over the
        manifest, or ``"all"``. By
        default, all genes are read, and 100 are compared with the source. Files of other genes
        must still exist.
    layer
        Layer of the source: ``"X"``, ``"raw"`` or the name of a layer. ``None`` uses the layer
        recorded in the export.
    memory_budget
        Memory limit of the comparison, as in `export`.
    timeout
        How long to wait without any progress, as in `export`.
    storage_options, source_storage_options
        fsspec options of the export and the source.
    allow_links
        Follow links in the source that lead outside of its folder.
    progress
        Show the progress.

    Returns
    -------
    VerifyReport
        The findings.

    Raises
    ------
    RequestError
        The export, the source, the layer or the genes do not exist.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> report = cd.verify("exports/atlas", "atlas.h5ad", genes="all")
    >>> report.ok, report.n_compared
    (True, 40)
    """
    started = time.perf_counter()
    findings = _Findings()
    compared: list[str] = []
    with show_progress(progress), waiting_at_most(Settings(timeout=timeout).patience):
        opened_target = Target.of(target, storage_options or {})
        check = _check_store if is_store(opened_target) else _check_files
        checked = check(opened_target, genes)
        findings.add(checked.findings)
        if source is not None and checked.differences is not None:
            compared = _chosen(genes, checked.genes, _N_COMPARED)
            with open_source(source, source_storage_options, allow_links) as opened:
                findings.add(checked.differences(opened, compared, layer, memory_budget))
    return VerifyReport(
        target=str(opened_target),
        n_cells=checked.n_cells,
        n_genes=len(checked.genes),
        n_files=checked.n_files,
        n_compared=len(compared),
        n_findings=findings.count,
        findings=tuple(findings.first),
        has_checksums=checked.export.checksums is not None,
        listed=checked.export.listing is not None,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class _Checked:
    """An export of either format.

    Attributes
    ----------
    export
        Its documents, and the files beside them.
    genes
        Names of its genes.
    n_cells, n_files
        Of the export; of the files, those that are read.
    findings
        What is wrong with it; its files are read as this is iterated over.
    differences
        Compares genes and fields with a source; None if the documents are no help.
    """

    export: ScannedExport | CheckedStore
    genes: list[str]
    n_cells: int
    n_files: int
    findings: Iterable[str]
    differences: Callable[[Source, list[str], str | None, int | str | None], Iterator[str]] | None


def _check_files(target: Target, genes: _Genes) -> _Checked:
    """Check an export of a file for each gene; of the other genes' files, that they exist."""
    export = ScannedExport.read(target)
    documents = export.documents
    vectors = documents.genes.vectors if documents.genes else {}
    ids = list(vectors)
    unread = {vectors[gene].path for gene in set(ids).difference(_chosen(genes, ids, None))}
    files = [file for file in documents.files() if file.path not in unread]
    findings = chain(
        documents.damage, export.damage, disagreements(documents), misplaced(export),
        damaged(export, files),
    )  # fmt: skip
    differences = partial(_differences, export) if documents.parts else None
    return _Checked(export, ids, documents.n_cells, len(files), findings, differences)


def _check_store(target: Target, _: _Genes) -> _Checked:
    """Check an export in the format cellucid-zarr, all of it."""
    export = CheckedStore.read(target)
    stored = export.stored
    return _Checked(
        export, list(stored.genes), stored.source.n_cells, len(export.files),
        zarr_verify.findings_of(export), partial(zarr_compare.differences, stored),
    )  # fmt: skip


def _differences(
    export: ScannedExport,
    source: Source,
    genes: list[str],
    layer: str | None,
    memory_budget: int | str | None,
) -> Iterator[str]:
    """Compare genes, points and cell metadata with the source."""
    documents = export.documents
    if source.n_cells != documents.n_cells:
        yield f"the source has {source.n_cells:,} cells, the export {documents.n_cells:,}"
        return
    if documents.genes is not None:
        settings = _settings(documents.genes, layer, memory_budget)
        sizes = export.listing or {}
        yield from compare_genes(export.target, documents.genes, genes, source, settings, sizes)
    try:
        fields = fields_settings(documents, memory_budget)
    except RequestError as error:
        yield f"{names.IDENTITY} names settings that no export has: {error}"
        return
    if fields is not None:
        yield from compare_fields(export.target, documents, source, fields)


def _settings(genes: Genes, layer: str | None, memory_budget: int | str | None) -> Settings:
    """Return the settings with which the genes would be exported again."""
    return Settings(
        layer=layer or genes.layer,
        memory_budget=memory_budget,
        genes_only=True,
        make_genes_unique=True,  # ids that are unique and short already stay as they are
        shorten_gene_names=True,
        skip_missing_genes=True,
        var_gene_id_column=genes.id_column,
        normalize=genes.normalize,
    )


def _chosen(wanted: _Genes, genes: Sequence[str], default: int | None) -> list[str]:
    """Choose genes by name, all, or a number of them evenly over their order."""
    if wanted is not None and not isinstance(wanted, str | int):
        names = list(map(str, wanted))
        check_known(names, genes)
        return names
    is_number = isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 1
    if not (is_number or wanted in (None, "all")):
        raise RequestError(f"genes is {wanted!r}: give names, a number of 1 or more, or 'all'.")
    number = default if wanted is None else None if isinstance(wanted, str) else wanted
    if number is None or number >= len(genes):
        return list(genes)
    return [genes[i] for i in np.linspace(0, len(genes) - 1, number).round().astype(int)]


class _Findings:
    """The number of findings, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, findings: Iterable[str]) -> None:
        """Add findings, each as one line even if a name in it contains line breaks."""
        for finding in findings:
            self.count += 1
            if self.count <= _MAX_LISTED:
                self.first.append(printable(phrase(finding), kept=""))
