"""The calls: export and plan."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Unpack

from cellucid_dask.engine import commit, resume
from cellucid_dask.engine.forecast import (
    forecast_edge_bytes,
    forecast_gene_bytes,
    forecast_scratch_bytes,
)
from cellucid_dask.engine.gene_warnings import gene_warnings
from cellucid_dask.engine.publish import publish
from cellucid_dask.engine.result import ExportResult
from cellucid_dask.engine.write import write_files
from cellucid_dask.errors import ExportWarning, phrase
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output import output_for
from cellucid_dask.planning import ExportPlan
from cellucid_dask.request.advice import advise
from cellucid_dask.request.options import ExportOptions, spell_out_options
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.cluster import blocking_client
from cellucid_dask.runtime.memory import current_rss, peak_rss
from cellucid_dask.runtime.patience import waiting_at_most
from cellucid_dask.runtime.progress import show_progress
from cellucid_dask.source import open_source
from cellucid_dask.source.fingerprint import watched
from cellucid_dask.store.staging import Staging, staging_folder
from cellucid_dask.store.target import Target
from cellucid_dask.types import PathOrUrl


@blocking_client()
@spell_out_options
def export(source: Any, target: PathOrUrl, **options: Unpack[ExportOptions]) -> ExportResult:
    """Export a data set to static files that a browser reads gene by gene.

    Parameters
    ----------
    source
        Path or URL of an h5ad or AnnData Zarr, or an AnnData in memory, backed or lazy.
    target
        Folder, or URL of a prefix in any fsspec store. If it contains a
        ``dataset_identity.json``, the export is complete.
    **options
        The attributes of `cellucid_dask.request.settings.Settings`, by name.

    Returns
    -------
    ExportResult
        A summary of the export.

    Raises
    ------
    RequestError
        The request is not valid for its source or target. Nothing was written.
    ExportError
        The work failed. The target contains nothing that looks like a complete export.

    Examples
    --------
    Export two genes and one column of the cell metadata:

    >>> import cellucid_dask as cd
    >>> result = cd.export(
    ...     "atlas.h5ad",
    ...     "exports/markers",
    ...     gene_identifiers=["LYZ", "MS4A1"],
    ...     obs_keys=["cell_type"],
    ...     memory_budget="512MiB",
    ...     progress=False,
    ... )
    >>> result.n_cells, result.n_genes, result.embeddings
    (300, 2, {2: 'X_umap'})
    """
    started = time.perf_counter()
    settings = Settings.of(options)
    output = output_for(settings, options)
    destination = Target.of(target, settings.storage_options)
    with (
        waiting_at_most(settings.patience),
        show_progress(settings.progress),
        open_source(source, settings.source_storage_options, settings.allow_links) as opened,
        watched(opened) as check_source,
        Staging(staging_folder(settings.scratch, destination.parent)) as staging,
    ):
        request = resolve(opened, settings)
        if commit.check_target(destination, request).complete:
            return _found(destination, request, started)
        fields = output.fields(request, _staged(staging, destination), str(destination))
        messages = (*request.warnings, *advise(request), *fields.warnings)
        _warn(messages)
        with commit.claim(destination, request) as (lease, state):
            if state.complete:  # by a run that has ended, or was killed while it cleared up
                resume.end(destination)
                return _found(destination, request, started)
            written, scratch_bytes = write_files(request, fields, staging, destination, state)
            found = gene_warnings(written.genes, request.gene_ids, settings)
            about_genes = tuple(each for each in found if each not in messages)
            _warn(about_genes)
            check_source()
            documents = output.make_documents(written)
            publish(destination, settings, documents, written.payloads, check=lease.check)
            resume.end(destination)
    destination.flush()
    return ExportResult(
        target=str(destination),
        n_cells=request.source.n_cells,
        n_genes=len(written.genes.column),
        n_objects=len(written.payloads),
        nbytes=sum(each.nbytes for each in written.payloads.values()),
        scratch_bytes=scratch_bytes,
        seconds=time.perf_counter() - started,
        peak_rss=peak_rss(),
        warnings=tuple(map(phrase, (*messages, *about_genes))),
        embeddings={d: each.key for d, each in request.embeddings.items()},
    )


@blocking_client()
@spell_out_options
def plan(
    source: Any, target: PathOrUrl | None = None, **options: Unpack[ExportOptions]
) -> ExportPlan:
    """Plan an export without writing anything: route, blocks, memory, number and size of files.

    Embeddings and obs are read and checked as in `export`. A few blocks of the matrix are
    encoded to estimate the size of the export.

    Parameters
    ----------
    source
        As in `export`.
    target
        As in `export`. If given, it is checked.
    **options
        As in `export`.

    Returns
    -------
    ExportPlan
        The plan. ``str(plan)`` is a short table.

    Raises
    ------
    RequestError
        The request is not valid for its source or target.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> plan = cd.plan("atlas.h5ad", memory_budget="512MiB")
    >>> plan.n_genes, plan.route
    (40, 'direct')
    >>> plan.peak_memory <= 512 * 2**20
    True
    """
    settings = Settings.of(options)
    output = output_for(settings, options)
    with (
        show_progress(settings.progress),
        waiting_at_most(settings.patience),
        open_source(source, settings.source_storage_options, settings.allow_links) as opened,
    ):
        request = resolve(opened, settings)
        if target is not None:
            commit.check_target(Target.of(target, settings.storage_options), request)
        idle = current_rss()
        fields = output.fields(
            request, lambda _, data: FileDigest.size_of(data), str(target or opened.name)
        )
        _warn((*request.warnings, *advise(request), *fields.warnings))
        planned = request.plan or ExportPlan.without_genes(request.source.n_cells)
        planned = replace(
            planned,
            scratch_bytes=forecast_scratch_bytes(request, request.plan, request.gene_columns),
        )
        planned = request.edge_plan.beside(planned) if request.edge_plan else planned
        return replace(
            planned,
            embeddings={d: each.key for d, each in request.embeddings.items()},
            peak_rss=idle + planned.peak_memory,
            n_objects=len(fields.files) + output.n_files(request),
            output_bytes=sum(each.nbytes for each in fields.files.values())
            + forecast_gene_bytes(request)
            + forecast_edge_bytes(request),
        )


def _staged(staging: Staging, target: Target) -> Callable[[str, bytes], FileDigest]:
    """Return what stages each file and computes the digest to compare it with in the target."""

    def keep(name: str, data: bytes) -> FileDigest:
        staging.add(name, data)
        return FileDigest.of(data, target.tag(data))

    return keep


def _found(target: Target, request: Request, started: float) -> ExportResult:
    """Return the result of a run that resumes and finds its export complete."""
    from cellucid_dask.read.complete import check_complete  # noqa: PLC0415  only such a run reads

    check_complete(target, request)
    return ExportResult(
        target=str(target),
        n_cells=request.source.n_cells,
        n_genes=len(request.gene_ids),
        n_objects=0,
        nbytes=0,
        scratch_bytes=0,
        seconds=time.perf_counter() - started,
        peak_rss=peak_rss(),
        warnings=tuple(map(phrase, request.warnings)),
        embeddings={d: each.key for d, each in request.embeddings.items()},
        was_complete=True,
    )


def _warn(texts: Any) -> None:
    for text in texts:
        warnings.warn(text, ExportWarning, stacklevel=4)  # _warn, export, its decorator, the caller
