"""How an export comes to be: payloads, then manifests, then the identity, last.

A reader that looks for the identity sees a whole export or none; one that looks for
``obs_manifest.json``, as the viewer does, sees none before every binary is there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cellucid_dask
from cellucid_dask import resume
from cellucid_dask.errors import RequestError
from cellucid_dask.fields.obs import CategoricalField, ContinuousField
from cellucid_dask.format import manifests, names
from cellucid_dask.format.connectivity import connectivity_manifest
from cellucid_dask.settings import Settings
from cellucid_dask.target import Target
from cellucid_dask.types import Json

if TYPE_CHECKING:
    from cellucid_dask.connectivity import Graph
    from cellucid_dask.fields.export import Fields
    from cellucid_dask.genes.summary import GeneSummary
    from cellucid_dask.request import Request

_MANIFESTS = (
    names.IDENTITY, names.OBS_MANIFEST, names.VAR_MANIFEST, names.CONNECTIVITY_MANIFEST,
)  # fmt: skip
_FOLDERS = (names.VAR_DIR, names.OBS_DIR, names.CONNECTIVITY_DIR, names.VECTORS_DIR)
# Only what an exporter writes may ever be removed.
_PAYLOAD = re.compile(
    r"points_[123]d\.bin(\.gz)?"
    r"|var/[^/]+\.values\.(f32|u8|u16)(\.gz)?"
    r"|obs/[^/]+\.(values|codes|outliers)\.(f32|u8|u16)(\.gz)?"
    r"|connectivity/edges\.(src|dst)\.bin(\.gz)?"
    r"|vectors/[^/]+_[123]d\.bin(\.gz)?"
)


@dataclass(frozen=True)
class Standing:
    """What a target holds before the run.

    Attributes
    ----------
    identity
        Of the export that genes alone are added to, if there is one.
    begun
        Whether an interrupted run of this very export is to be resumed.
    """

    identity: Json | None
    begun: bool


def check(target: Target, request: Request) -> Standing:
    """Refuse a target that holds an export already, or an interrupted one that is not this."""
    settings, found = request.settings, target.names()
    begun = False
    if settings.resume:
        begun = resume.check_same(target, request)
    elif not settings.force and resume.was_interrupted(target):
        raise RequestError(
            f"{target.url} holds an export that was interrupted: go on with --resume, or start "
            "anew with --force."
        )
    if settings.genes_only and names.IDENTITY in found:
        if names.VAR_MANIFEST in found and not settings.force and not begun:
            raise RequestError(f"{target.url} has genes already: pass --force to replace them.")
        return Standing(_joinable(target, settings, request.source.n_cells), begun)
    held = sorted(name for name in found if name in _MANIFESTS)
    if held and not settings.force and not begun:
        remedy = "there is nothing to resume" if settings.resume else "choose another place"
        raise RequestError(
            f"{target.url} already holds an export ({held[0]}): {remedy}, or pass "
            "--force to replace it."
        )
    return Standing(None, begun)


def _joinable(target: Target, settings: Settings, n_cells: int) -> Json:
    try:
        identity: Json = json.loads(target.read(names.IDENTITY) or b"")
        there = identity["stats"]["n_cells"]
        compressed = identity["export_settings"]["compression"] is not None
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"{target.url}/{names.IDENTITY} cannot be read: export everything with --force."
        ) from None
    if there != n_cells:
        raise RequestError(
            f"{target.url} holds {there:,} cells, the source {n_cells:,}: genes can only be "
            "added to an export of the same cells."
        )
    if compressed != (settings.compression is not None):
        raise RequestError(
            f"{target.url} is {'' if compressed else 'not '}compressed: genes that are added "
            f"to it must be {'too' if compressed else 'uncompressed, --compression none'}."
        )
    return identity


def clear(target: Target, identity: Json | None) -> None:
    """Take an older export out of sight before any of its files is replaced."""
    found = target.names()
    stale = [name for name in _MANIFESTS if name in found]
    if identity is None:
        for name in stale:  # one after another: the identity goes first
            target.remove([name])
    elif names.VAR_MANIFEST in stale:  # what is left is a whole export, without genes
        identity["stats"]["n_genes"] = 0
        target.publish(names.IDENTITY, manifests.to_json(identity, indent=2))
        target.remove([names.VAR_MANIFEST])


def finish(
    target: Target,
    request: Request,
    fields: Fields,
    summary: GeneSummary,
    identity: Json | None,
    graph: Graph | None = None,
) -> None:
    """Write the manifests and the identity; then remove what an older export left."""
    settings, n_cells = request.settings, request.source.n_cells
    documents: dict[str, bytes] = {}
    files = set(fields.files)
    if request.genes is not None:
        genes = request.genes
        ranges = {
            int(position): (float(low), float(high))
            for position, low, high in zip(
                genes.in_source_order, summary.lowest, summary.highest, strict=True
            )
        }
        entries = [(gene, *ranges[i]) for i, gene in enumerate(genes.ids)]
        documents[names.VAR_MANIFEST] = manifests.to_json(
            manifests.var_manifest(
                n_cells, settings.var_gene_id_column, settings.compression,
                settings.var_quantization, entries,
            )
        )  # fmt: skip
        files |= set(request.gene_files)
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
    n_genes = len(summary.gene)
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
    _remove_left_over(target, files, genes_only=settings.genes_only)


def _identity(
    target: Target,
    request: Request,
    fields: Fields,
    obs: Json | None,
    n_genes: int,
    graph: Graph | None,
) -> Json:
    settings = request.settings
    return manifests.identity(
        dataset_id=names.dataset_id(settings.dataset_id, settings.dataset_name, target.url),
        name=settings.dataset_name or target.name,
        description=settings.dataset_description,
        created_at=str(settings.created_at),
        version=cellucid_dask.__version__,
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


def _remove_left_over(target: Target, files: set[str], *, genes_only: bool) -> None:
    folders = (names.VAR_DIR,) if genes_only else _FOLDERS
    there = target.names(*folders)
    if genes_only:
        there = {name for name in there if name.startswith(f"{names.VAR_DIR}/")}
    target.remove(sorted(name for name in there - files if _PAYLOAD.fullmatch(name)))
