"""Writing the files of an export in a target that is claimed."""

from __future__ import annotations

import numpy as np

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.engine import resume
from cellucid_dask.engine.commit import TargetState, clear
from cellucid_dask.engine.forecast import forecast_scratch_bytes
from cellucid_dask.engine.genes import check_values, export_genes
from cellucid_dask.engine.intact import gene_digests
from cellucid_dask.output import output_of
from cellucid_dask.output.base import Fields, Written, is_note
from cellucid_dask.request.resolve import Request
from cellucid_dask.runtime.cluster import active_client, check_sees
from cellucid_dask.runtime.memory import release_memory
from cellucid_dask.runtime.progress import follow
from cellucid_dask.source.base import Source
from cellucid_dask.store.scratch import open_scratch
from cellucid_dask.store.staging import Staging
from cellucid_dask.store.target import Target


def write_files(
    request: Request, fields: Fields, staging: Staging, target: Target, state: TargetState
) -> tuple[Written, int]:
    """Write all files of an export but its documents, and those that a run before has written.

    Parameters
    ----------
    request
        What is exported.
    fields, staging
        Cell metadata and embeddings, and where their files wait.
    target, state
        Where it goes, claimed for this run, and what it contains.

    Returns
    -------
    tuple
        What was written, and the bytes of scratch that it took.
    """
    settings = request.settings
    output = output_of(settings.format)
    _check_workers(request.source, target)
    done = GeneSummary.empty()
    if state.begun:
        done = resume.finished(target, output.gene_keys(request))
    left = np.setdiff1d(request.gene_columns, done.column)
    rest = request.planned_for(left)
    through_scratch = rest is not None and rest.route == "scratch"
    needed = forecast_scratch_bytes(request, rest, left) if through_scratch else None
    options = settings.storage_options
    if rest is not None and output.announced(target.names(), genes_only=settings.genes_only):
        check_values(request, rest, left, target)  # before the older export is withdrawn
    with open_scratch(settings.scratch, target.parent, needed, options) as scratch:
        resume.begin(target, request, clean=not state.begun)
        clear(target, settings, state)
        with (
            follow("writing cell metadata", len(fields.files), "files") as progress,
            target.writer() as out,
        ):
            for name, data in progress.count(staging):
                out.put({name: data})
        staging.close()
        graph = output.graph(request, target)
        release_memory()  # the genes will need it
        genes = done
        if rest is not None:
            genes = GeneSummary.joined([done, export_genes(request, rest, left, target, scratch)])
        scratch_bytes = scratch.nbytes() if scratch else 0
    target.begin_flush()  # after scratch is gone, which need not reach the disk
    files = {
        **fields.files,
        **(graph.files if graph else {}),
        **gene_digests(genes, output.gene_keys(request)),
        **output.finish_genes(request, target, genes),
    }
    written = Written(
        target=target,
        request=request,
        fields=fields,
        graph=graph,
        genes=genes,
        payloads={name: each for name, each in files.items() if not is_note(name)},
        joined=state.identity,
        checksums=state.checksums,
    )
    return written, scratch_bytes + (graph.scratch_bytes if graph else 0)


def _check_workers(source: Source, target: Target) -> None:
    """Make sure that the workers of a cluster see the local files they will work on."""
    client = active_client()
    if client is None:
        return
    for location in (target, getattr(source, "location", None)):  # of a source in a file
        if location is not None and location.is_local:
            check_sees(client, location.url)
