"""The reduce step: results -> manifests and identity."""

from __future__ import annotations

from cellucid_dask._version import __version__
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.engine.commit import remove_left_over
from cellucid_dask.engine.edges import EdgeFiles
from cellucid_dask.engine.fields import Fields
from cellucid_dask.fields.obs import CategoricalField, ContinuousField
from cellucid_dask.format import manifests, names
from cellucid_dask.format.edges import connectivity_manifest
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json


def finish(
    target: Target,
    request: Request,
    fields: Fields,
    summary: GeneSummary,
    identity: Json | None,
    graph: EdgeFiles | None = None,
) -> None:
    """Write the manifests and the identity; then remove what an older export left."""
    settings, n_cells = request.settings, request.source.n_cells
    documents: dict[str, bytes] = {}
    files = set(fields.files)
    if request.genes is not None:
        genes = request.genes
        ranges = dict(
            zip(
                summary.column.tolist(),
                zip(summary.lowest.tolist(), summary.highest.tolist(), strict=True),
                strict=True,
            )
        )
        entries = [
            (gene, *ranges[column])
            for gene, column in zip(genes.ids, genes.columns.tolist(), strict=True)
        ]
        documents[names.VAR_MANIFEST] = manifests.to_json(
            manifests.var_manifest(
                n_cells, settings.var_gene_id_column, settings.compression,
                settings.var_quantization, entries,
            )
        )  # fmt: skip
        files |= set(request.gene_files.values())
    if graph is not None:
        documents[names.CONNECTIVITY_MANIFEST] = manifests.to_json(
            connectivity_manifest(n_cells, graph.n_edges, graph.max_neighbors, settings.compression)
        )
        files |= set(graph.files)
    obs = None
    if not settings.genes_only:
        obs = manifests.obs_manifest(
            n_cells,
            settings.compression,
            settings.obs_continuous_quantization,
            centroid_outlier_quantile=settings.centroid_outlier_quantile,
            continuous=[each for each in fields.obs if isinstance(each, ContinuousField)],
            categorical=[each for each in fields.obs if isinstance(each, CategoricalField)],
        )
        documents[names.OBS_MANIFEST] = manifests.to_json(obs)
    n_genes = len(summary.column)
    if identity is not None:
        identity["stats"]["n_genes"] = n_genes
        identity["export_settings"]["var_quantization"] = settings.var_quantization
        identity["export_settings"].pop("normalize", None)
        if settings.normalize is not None:
            identity["export_settings"]["normalize"] = settings.normalize
    elif not settings.genes_only:
        identity = _identity(target, request, fields, obs, n_genes, graph)
    if identity is not None:
        documents[names.IDENTITY] = manifests.to_json(identity, indent=2)
    for name, data in documents.items():  # in this order: the identity comes last
        target.publish(name, data)
    remove_left_over(target, files, genes_only=settings.genes_only)


def _identity(
    target: Target,
    request: Request,
    fields: Fields,
    obs: Json | None,
    n_genes: int,
    graph: EdgeFiles | None,
) -> Json:
    settings = request.settings
    return manifests.identity(
        dataset_id=names.dataset_id(settings.dataset_id, settings.dataset_name, target.url),
        name=settings.dataset_name or target.name,
        description=settings.dataset_description,
        created_at=str(settings.created_at),
        version=__version__,
        n_cells=request.source.n_cells,
        n_genes=n_genes,
        compression=settings.compression,
        var_quantization=settings.var_quantization,
        obs_continuous_quantization=settings.obs_continuous_quantization,
        obs_categorical_dtype=settings.obs_categorical_dtype,
        normalize=settings.normalize,
        dimensions=fields.dimensions,
        obs=obs,
        n_edges=None if graph is None else graph.n_edges,
        vector_fields=fields.vectors,
        source_name=settings.source_name,
        source_url=settings.source_url,
        source_citation=settings.source_citation,
    )
