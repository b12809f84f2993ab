"""Settings and source become a request, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from dask.base import tokenize

from cellucid_dask.display import abbreviated, first_few
from cellucid_dask.encode.gene_vectors import columns_bytes
from cellucid_dask.encode.normalize import are_whole
from cellucid_dask.errors import RequestError
from cellucid_dask.fields import points
from cellucid_dask.format import names
from cellucid_dask.planning import ExportPlan, make_plan
from cellucid_dask.planning.edges import EdgePlan
from cellucid_dask.request.embeddings import Embedding, choose_embeddings, choose_latent
from cellucid_dask.request.genes import GeneSelection, select_genes
from cellucid_dask.request.neighbors import is_scratch_shared, open_neighbors, plan_edges
from cellucid_dask.request.pieces import rejoined
from cellucid_dask.request.settings import Settings
from cellucid_dask.request.vector_fields import VectorField, choose_vector_fields
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.source.normalized import NormalizedMatrix
from cellucid_dask.types import Array


@dataclass(frozen=True)
class Request:
    """What will be exported, and how.

    Attributes
    ----------
    genes, matrix, plan
        ``None`` when there is no expression to export.
    embeddings
        By dimension; empty with ``genes_only``.
    obs_keys
        The columns to export, in order.
    warnings
        What the user should know before the work starts.
    vector_fields
        By name and dimension.
    neighbors, edge_plan
        The neighbor graph and how it is cut; ``None`` when none was asked for.
    """

    source: Source
    settings: Settings
    matrix: Matrix | None
    genes: GeneSelection | None
    plan: ExportPlan | None
    embeddings: dict[int, Embedding]
    latent: str | None
    obs_keys: tuple[str, ...]
    warnings: tuple[str, ...]
    vector_fields: tuple[VectorField, ...] = ()
    neighbors: Matrix | None = None
    edge_plan: EdgePlan | None = None

    @cached_property
    def gene_ids(self) -> dict[int, str]:
        """Names of the genes by their matrix column, ascending."""
        if self.genes is None:
            return {}
        return dict(sorted(zip(self.genes.columns.tolist(), self.genes.ids, strict=True)))

    @property
    def gene_columns(self) -> Array:
        """Matrix columns of the genes: int64, ascending."""
        return np.fromiter(self.gene_ids, np.int64)

    @cached_property
    def gene_files(self) -> dict[int, str]:
        """Paths of the genes' files by their matrix column, ascending."""
        bits, compressed = self.settings.var_quantization, self.settings.compression is not None
        return {
            column: names.gene_path(gene, bits, compressed)
            for column, gene in self.gene_ids.items()
        }

    @property
    def paths(self) -> list[str]:
        """Paths of the files of all genes and columns; of a column the longest it may have."""
        return [
            *self.gene_files.values(),
            *(_longest_path(key, self.settings) for key in self.obs_keys),
        ]

    @cached_property
    def source_token(self) -> str:
        """A digest of the source and the genes; reads all of a matrix in memory, once."""
        genes = () if self.genes is None else (self.genes.ids, self.genes.columns)
        return str(tokenize(self.source.fingerprint(self.settings.layer), genes))

    def planned_for(self, columns: Array) -> ExportPlan | None:
        """Return the plan for some of the genes, by matrix column, ascending; ``None`` for none."""
        if self.matrix is None or not len(columns):
            return None
        if len(columns) == len(self.gene_ids):
            return self.plan
        return _plan(self.matrix, columns, self.settings)


def resolve(source: Source, settings: Settings, *, with_genes: bool = True) -> Request:
    """Check settings against a source.

    Reads metadata, arrays of obsm that nobody named, and one block if counts are normalized.

    Parameters
    ----------
    source, settings
        What to export, and how.
    with_genes
        Whether to look at the matrix at all.

    Raises
    ------
    RequestError
        Naming what does not fit, and the remedy.
    """
    warnings: list[str] = []
    matrix = _open_matrix(source, settings, warnings) if with_genes else None
    embeddings: dict[int, Embedding] = {}
    latent: str | None = None
    obs_keys: tuple[str, ...] = ()
    vector_fields: list[VectorField] = []
    neighbors, edge_plan = None, None
    if not settings.genes_only:
        widths = source.obsm_widths
        unfit = lru_cache(lambda key: points.unfit(source.obsm(key)))
        embeddings, passed_over = choose_embeddings(
            _without_vector_fields(widths, settings), settings.embeddings, unfit
        )
        latent, useless = choose_latent(widths, settings.latent, unfit)
        warnings += dict.fromkeys([*passed_over, *useless])
        vector_fields, left_out = choose_vector_fields(widths, settings.vectors, embeddings)
        warnings += left_out
        neighbors = open_neighbors(source, settings)
        edge_plan = None if neighbors is None else plan_edges(neighbors, settings)
        obs_keys = _obs_keys(source, settings, warnings)
    genes, plan = None, None
    if matrix is not None:
        genes = _genes(source, matrix, settings)
        warnings += genes.warnings
        if settings.normalize is not None:
            matrix = NormalizedMatrix(
                matrix, settings.layer, find_resources(settings.budget).n_workers
            )
        plan = _plan(matrix, np.sort(genes.columns), settings)
        if isinstance(matrix, NormalizedMatrix):
            warnings += _already_normalized(matrix, plan)
    return Request(
        source, settings, matrix, genes, plan, embeddings, latent, obs_keys, tuple(warnings),
        tuple(vector_fields), neighbors, edge_plan,
    )  # fmt: skip


def _without_vector_fields(widths: Mapping[str, int], settings: Settings) -> Mapping[str, int]:
    """Leave out vector fields where embeddings are searched for."""
    taken = set(settings.vectors.values()) if settings.embeddings is None else set()
    return {key: widths[key] for key in widths if key not in taken} if taken else widths


def _open_matrix(source: Source, settings: Settings, warnings: list[str]) -> Matrix | None:
    known = source.layers
    exists = settings.layer in known
    if not exists and (settings.layer != "X" or known):
        raise RequestError(
            f"There is no layer {settings.layer!r}; {source.name} has {', '.join(known) or 'none'}."
        )
    matrix = source.matrix(settings.layer) if exists else None
    if matrix is None:
        text = f"{source.name} contains no expression in {settings.layer}"
        if settings.genes_only or settings.gene_identifiers or settings.genes_from:
            raise RequestError(f"{text}: there are no genes to export.")
        warnings.append(f"{text}: the export will have no genes.")
    return matrix


def _genes(source: Source, matrix: Matrix, settings: Settings) -> GeneSelection:
    var = source.var(settings.layer)
    n_cells, n_genes = matrix.shape
    if n_cells != source.n_cells or n_genes != len(var):
        text = f"{settings.layer} is {n_cells:,} x {n_genes:,}"
        if n_cells == len(var) and n_genes == source.n_cells:
            raise RequestError(
                f"{text}, but obs has {source.n_cells:,} rows and var {len(var):,}: it is "
                "genes x cells, transpose it."
            )
        raise RequestError(
            f"{text}, but obs has {source.n_cells:,} rows and var has {len(var):,} rows: "
            "they do not belong together."
        )
    if not n_cells or not n_genes:
        raise RequestError(
            f"{settings.layer} has {n_cells:,} cells and {n_genes:,} genes: "
            "there is nothing to export."
        )
    if matrix.dtype.kind not in "biuf" or matrix.dtype.itemsize > 8:
        raise RequestError(
            f"{settings.layer} holds {matrix.dtype}, not real numbers: convert it first."
        )
    return select_genes(var, settings)


def _obs_keys(source: Source, settings: Settings, warnings: list[str]) -> tuple[str, ...]:
    known = source.obs_keys
    asked = rejoined(settings.obs_keys or (), known)
    unknown = [key for key in asked if key not in known]
    if unknown:
        raise RequestError(
            f"obs has no column {first_few(unknown)}; it has {first_few(known, 30) or 'none'}."
        )
    keys = tuple(known if settings.obs_keys is None else asked)
    if settings.one_file_each and (collisions := names.collisions(keys)):
        one, two, name = collisions[0]
        raise RequestError(
            f"obs columns {one!r} and {two!r} would both be stored as {name}: rename one, or "
            "choose columns with --obs-keys."
        )
    long = names.too_long({key: _longest_path(key, settings) for key in keys})
    if settings.one_file_each and long:
        raise RequestError(
            f"The obs column {abbreviated(long[0])} has a name that is too long for a file: "
            "rename it, or choose columns with --obs-keys."
        )
    if similar := names.case_collisions(keys):
        listed = first_few([f"{one}/{two}" for one, two in similar])
        warnings.append(
            f"{len(similar)} pairs of obs columns differ only by letter case ({listed}): "
            "on a case-insensitive disk one would overwrite the other."
        )
    return keys


def _longest_path(key: str, settings: Settings) -> str:
    """Return the longest path that a column may have; its kind is not known yet."""
    return names.obs_outliers_path(
        key, settings.obs_continuous_quantization, settings.compression is not None
    )


def _already_normalized(matrix: NormalizedMatrix, plan: ExportPlan) -> list[str]:
    """Warn if the first block does not hold whole numbers, as counts are."""
    (block,) = run_all([matrix.counts.dask((plan.row_blocks, plan.gene_blocks)).blocks[0, 0]])
    if are_whole(block):
        return []
    text = (
        f"{matrix.layer} holds values that are not integers, as if already normalized: omit "
        "--normalize, or choose the layer of raw counts."
    )
    return [text]


def _plan(matrix: Matrix, columns: Array, settings: Settings) -> ExportPlan:
    resources = find_resources(settings.budget)
    layout, working = matrix.layout(columns), None
    if not settings.one_file_each:
        layout = replace(layout, exact=True)
        working = columns_bytes(matrix.shape[0], layout.tile_dtype)
    return make_plan(
        layout,
        bits=settings.var_quantization,
        memory_budget=resources.memory,
        n_workers=resources.n_workers,
        shared_disk=is_scratch_shared(resources, settings.scratch),
        shared_memory=matrix.shared_nbytes,
        working=working,
    )
