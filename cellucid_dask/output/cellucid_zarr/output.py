"""The format as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.errors import RequestError
from cellucid_dask.format import checksums, names
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.manifests import to_json
from cellucid_dask.output.base import Written
from cellucid_dask.output.cellucid_zarr.arrays import (
    ATTRIBUTES,
    GROUP,
    METADATA,
    SLICED,
    Hierarchy,
    consolidated,
    encoding,
)
from cellucid_dask.output.cellucid_zarr.fields import Tables, export_tables
from cellucid_dask.output.cellucid_zarr.genes import (
    GeneChunks,
    gene_key,
    join_fragments,
    noted_expression,
)
from cellucid_dask.output.cellucid_zarr.graph import StoredGraph, export_graph, sampled_bytes
from cellucid_dask.page import Kind
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.document import parse_json
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

_GROUPS = ("X", "obs", "var", "obsm", "obsp", "uns", "varm", "varp", "layers")


class CellucidZarr:
    """The format ``cellucid-zarr``."""

    documents = (ATTRIBUTES, GROUP, METADATA)
    page: Kind = "zarr"
    unused = frozenset(
        {
            "cell_ids", "centroid_min_points", "centroid_outlier_quantile", "compression",
            "gene_aliases", "genes_only", "latent", "obs_categorical_dtype",
            "obs_continuous_quantization", "shorten_gene_names", "var_quantization",
        }
    )  # fmt: skip

    def paths(self, request: Request) -> list[str]:
        """Return the paths of the columns of obs."""
        return [f"obs/{key}" for key in request.obs_keys]

    def announced(self, existing: set[str], *, genes_only: bool) -> bool:  # noqa: ARG002
        """Whether there are consolidated metadata."""
        return METADATA in existing

    def check(self, target: Target) -> None:
        """Refuse a target with another Zarr store, whose files an export would replace."""
        existing = target.names()
        if existing.isdisjoint(self.documents):
            return
        metadata = _metadata(target)
        if metadata is None or f"uns/cellucid/{GROUP}" not in metadata:
            raise RequestError(
                f"{target} holds a Zarr store that is not an export: choose another location."
            )

    def fields(
        self, request: Request, keep: Callable[[str, bytes], FileDigest], target: str
    ) -> Tables:
        """Encode obs, var, obsm and uns."""
        return export_tables(request, keep, target)

    def graph(self, request: Request, target: Target) -> StoredGraph | None:
        """Write the matrix of the graph."""
        if request.neighbors is None or request.edge_plan is None:
            return None
        key = str(request.settings.connectivities)
        return export_graph(request.neighbors, request.edge_plan, target, key)

    def edge_bytes(self, request: Request, block: Any, first_row: int, first_column: int) -> int:  # noqa: ARG002
        """Encode the rows of a block."""
        return sampled_bytes(block)

    def gene_keys(self, request: Request) -> dict[int, str]:
        """Return what receipts call each gene, by matrix column."""
        return {column: gene_key(column) for column in request.gene_ids}

    def genes(self, request: Request, columns: Array, target: Target | None) -> GeneChunks:
        """Return the writer of the chunks of some genes."""
        if request.genes is None or request.matrix is None:
            raise ValueError("there is no matrix")
        in_order = request.genes.columns
        by_column = np.argsort(in_order, kind="stable")
        slots = by_column[np.searchsorted(in_order[by_column], columns)]
        writer = GeneChunks(
            columns=columns,
            slots=slots,
            ids=tuple(request.gene_ids[column] for column in columns.tolist()),
            n_cells=request.source.n_cells,
            n_genes=len(in_order),
            name=request.settings.layer,
            exact=not np.can_cast(request.matrix.dtype, np.float32),
        )
        return writer if target is None else writer.noted(target)

    def n_files(self, request: Request) -> int:
        """Return two for each chunk of values, and what describes them."""
        values = 0
        for matrix, columns in (
            (request.matrix, request.gene_columns),
            (request.neighbors, np.arange(0)),
        ):
            layout = None if matrix is None else matrix.layout(columns)
            values += (layout.nnz or 0) if layout is not None else 0
        return 2 * -(-values // SLICED) + 8

    def finish_genes(
        self, request: Request, target: Target, genes: GeneSummary
    ) -> dict[str, FileDigest]:
        """Join the chunks that tasks shared, and describe ``X``."""
        if request.genes is None:
            return {}
        expression = noted_expression(target, request.source.n_cells)
        if expression is None:
            raise ValueError("values were not counted")
        files = join_fragments(target, expression, genes.shared)
        store = Hierarchy.in_target(target)
        if expression.dense:
            store.array(expression.arrays[0], encoding("array"))
        else:
            shape = [expression.n_cells, expression.n_genes]
            store.group("X", encoding("csc_matrix", "0.1.0") | {"shape": shape})
            store.values(*expression.indptr(), {})
            for spec in expression.arrays:
                store.array(spec, {})
        return files | store.files

    def make_documents(self, written: Written) -> dict[str, bytes]:
        """Return checksums, the root of the store and, last, the consolidated metadata."""
        root: Json = {ATTRIBUTES: encoding("anndata", "0.1.0"), GROUP: {"zarr_format": 2}}
        metadata = {**root, **written.fields.metadata}
        if written.graph is not None:
            metadata |= written.graph.metadata
        described = [
            path
            for path in written.payloads
            if path.rpartition("/")[2] in (".zarray", GROUP, ATTRIBUTES) and path not in metadata
        ]
        for path, data in zip(described, written.target.read_many(described), strict=True):
            metadata[path] = parse_json(data)
        documents = {path: to_json(content) for path, content in root.items()}
        sums = {path: each.sha256 for path, each in written.payloads.items()}
        sums |= {path: checksums.sha256(data) for path, data in documents.items()}
        return {
            names.CHECKSUMS: checksums.to_text(sums),
            **documents,
            METADATA: consolidated(metadata),
        }

    def left_over(self, target: Target, kept: set[str], *, genes_only: bool) -> list[str]:  # noqa: ARG002
        """Return files in the groups of the store that are not the export's."""
        existing = target.tree() or {}
        return sorted(
            path
            for path in set(existing) - kept
            if path.partition("/")[0] in _GROUPS and "/" in path
        )


def _metadata(target: Target) -> Json | None:
    try:
        metadata = parse_json(target.read(METADATA) or b"")["metadata"]
    except (ValueError, KeyError):
        return None
    return metadata if isinstance(metadata, dict) else None
