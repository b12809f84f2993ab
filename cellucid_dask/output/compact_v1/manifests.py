"""The last step of an export: results become documents, which are published in order."""

from __future__ import annotations

from collections.abc import Mapping

from cellucid_dask._version import __version__
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.format import checksums, manifests, names
from cellucid_dask.format.edges import connectivity_manifest
from cellucid_dask.format.identity import describe_dataset
from cellucid_dask.output.compact_v1.edges import EdgeFiles
from cellucid_dask.output.compact_v1.fields import Fields
from cellucid_dask.request.genes import GeneSelection
from cellucid_dask.request.resolve import Request
from cellucid_dask.request.settings import Settings
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json


def make_documents(
    target: Target,
    request: Request,
    fields: Fields,
    summary: GeneSummary,
    identity: Json | None,
    edges: EdgeFiles | None = None,
) -> dict[str, Json]:
    """Make the documents of an export.

    Parameters
    ----------
    target
        Where it is, for the name of a data set that is given none.
    request, fields, summary, edges
        What was exported.
    identity
        That of the export to which genes were added; None for an export of its own.

    Returns
    -------
    dict
        Content by name, of the manifests, the identity and the table of aliases.
    """
    settings, n_cells = request.settings, request.source.n_cells
    documents: dict[str, Json] = {}
    if request.genes is not None:
        documents[names.VAR_MANIFEST] = _var_manifest(request, request.genes, summary)
    if edges is not None:
        documents[names.CONNECTIVITY_MANIFEST] = connectivity_manifest(
            n_cells, edges.n_edges, edges.max_neighbors, settings.compression
        )
    if not settings.genes_only:
        documents[names.OBS_MANIFEST] = manifests.obs_manifest(
            n_cells,
            settings.compression,
            settings.obs_continuous_quantization,
            centroid_outlier_quantile=settings.centroid_outlier_quantile,
            continuous=fields.continuous,
            categorical=fields.categorical,
        )
        documents[names.IDENTITY] = describe_dataset(
            {
                **_about(target, settings),
                "created_at": settings.created_at,
                "cellucid_data_version": __version__,
            },
            n_cells,
            len(summary.column),
            _export_settings(request),
            dimensions=fields.dimensions,
            obs=documents[names.OBS_MANIFEST],
            n_edges=None if edges is None else edges.n_edges,
            source=_source(settings),
            vector_fields=fields.vectors,
        )
        if settings.cell_ids:
            path = names.cell_ids_path(settings.compression is not None)
            documents[names.IDENTITY]["cell_ids"] = path
    elif identity is not None:
        documents[names.IDENTITY] = _with_genes(identity, settings, len(summary.column))
    if request.genes is not None and names.IDENTITY in documents:
        _add_aliases(documents, request.genes)
    return documents


def other_settings(documents: Mapping[str, Json], target: Target, request: Request) -> list[str]:
    """Return what the documents of an export say that they would not of this request's.

    Parameters
    ----------
    documents
        Content by name, of an export in the target.
    target, request
        What would be exported.

    Returns
    -------
    list of str
        Names of settings and entries.
    """
    settings = request.settings
    made: Json = {}
    stated: Json = {}
    if request.genes is not None:
        manifest = documents[names.VAR_MANIFEST]
        made |= _made_of(settings) | {
            "compression": settings.compression,
            "var_quantization": settings.var_quantization,
            "var_gene_id_column": settings.var_gene_id_column,
            "gene_aliases": _aliases(request.genes),
        }
        stated |= {key: manifest[key] for key in ("layer", "normalize", *made) if key in manifest}
        stated |= {
            "var_quantization": manifest["quantization"],
            "gene_aliases": documents.get(names.ALIASES),
        }
    if not settings.genes_only:
        identity = documents[names.IDENTITY]
        about = _about(target, settings)
        made |= _export_settings(request) | {"cell_ids": settings.cell_ids}
        made |= {f"dataset_{key}": value for key, value in about.items()}
        made["source"] = {key: value for key, value in _source(settings).items() if value}
        stated |= checksums.unsigned(identity)["export_settings"]
        stated |= {f"dataset_{key}": identity[key] for key in about}
        stated |= {"source": identity.get("source", {}), "cell_ids": "cell_ids" in identity}
    return sorted(key for key in made | stated if made.get(key) != stated.get(key))


def _about(target: Target, settings: Settings) -> dict[str, str]:
    return {
        "id": names.dataset_id(settings.dataset_id, settings.dataset_name, str(target)),
        "name": settings.dataset_name or target.name,
        "description": settings.dataset_description or "",
    }


def _source(settings: Settings) -> Json:
    return {
        "name": settings.source_name,
        "url": settings.source_url,
        "citation": settings.source_citation,
    }


def _var_manifest(request: Request, genes: GeneSelection, summary: GeneSummary) -> Json:
    settings = request.settings
    row_of = {column: row for row, column in enumerate(summary.column.tolist())}
    rows = [row_of[column] for column in genes.columns.tolist()]
    return manifests.var_manifest(
        request.source.n_cells,
        settings.var_gene_id_column,
        settings.compression,
        settings.var_quantization,
        zip(genes.ids, summary.lowest[rows], summary.highest[rows], strict=True),
        _made_of(settings),
    )


def _made_of(settings: Settings) -> dict[str, str]:
    """Return what must be known of the source to find the values of the genes again."""
    made_of = {"layer": settings.layer} if settings.layer != "X" else {}
    return made_of if settings.normalize is None else made_of | {"normalize": settings.normalize}


def _add_aliases(documents: dict[str, Json], genes: GeneSelection) -> None:
    """Add other names of the genes, which the identity points to."""
    documents[names.IDENTITY].pop("gene_aliases", None)
    if (aliases := _aliases(genes)) is not None:
        documents[names.ALIASES] = aliases
        documents[names.IDENTITY]["gene_aliases"] = names.ALIASES


def _aliases(genes: GeneSelection) -> Json | None:
    if genes.aliases is None:
        return None
    return {"column": genes.aliases.column, "names": list(genes.aliases.names)}


def _export_settings(request: Request) -> Json:
    """Return what was asked for and chosen, of which `verify` makes the export again."""
    settings = request.settings
    return {
        "compression": settings.compression,
        "var_quantization": settings.var_quantization,
        "obs_continuous_quantization": settings.obs_continuous_quantization,
        "obs_categorical_dtype": settings.obs_categorical_dtype,
        "centroid_min_points": settings.centroid_min_points,
        "embeddings": [each.spec for each in request.embeddings.values()],
        "latent": request.latent,
        "vector_fields": dict(settings.vectors),
        "connectivities": settings.connectivities,
        **_made_of(settings),
    }


def _with_genes(identity: Json, settings: Settings, n_genes: int) -> Json:
    """Record the genes that were added to an export in its identity."""
    identity["stats"]["n_genes"] = n_genes
    recorded = identity["export_settings"]
    for key in ("var_quantization", "layer", "normalize"):
        recorded.pop(key, None)
    recorded |= {"var_quantization": settings.var_quantization, **_made_of(settings)}
    return identity
