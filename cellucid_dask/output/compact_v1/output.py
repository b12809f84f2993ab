"""The format as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cellucid_dask.encode.edges import edge_keys
from cellucid_dask.encode.gzip_blocks import compress_blocks
from cellucid_dask.format import layout, names
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.edges import index_dtype
from cellucid_dask.output.base import GeneWriter, Written
from cellucid_dask.output.compact_v1.documents import encode_documents
from cellucid_dask.output.compact_v1.edges import EdgeFiles, export_request_edges
from cellucid_dask.output.compact_v1.fields import Fields, export_fields
from cellucid_dask.output.compact_v1.genes import GeneFiles
from cellucid_dask.output.compact_v1.manifests import make_documents
from cellucid_dask.page import Kind
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array


class CompactV1:
    """The format ``compact_v1``."""

    documents = layout.DOCUMENTS
    unused: frozenset[str] = frozenset()
    page: Kind = "export"

    def paths(self, request: Request) -> list[str]:
        """Return the paths of the files of genes and columns."""
        return request.paths

    def announced(self, existing: set[str], *, genes_only: bool) -> bool:
        """Whether there is a manifest of genes, or an identity and what the viewer looks for."""
        needed = {names.VAR_MANIFEST} if genes_only else {names.IDENTITY, names.OBS_MANIFEST}
        return needed <= existing

    def check(self, target: Target) -> None:
        """Refuse nothing: its files have names of their own."""

    def fields(
        self,
        request: Request,
        keep: Callable[[str, bytes], FileDigest],
        target: str,  # noqa: ARG002
    ) -> Fields:
        """Encode points, vector fields and obs."""
        return export_fields(request, keep)

    def graph(self, request: Request, target: Target) -> EdgeFiles | None:
        """Write the edges of the graph."""
        return export_request_edges(request, target)

    def edge_bytes(self, request: Request, block: Any, first_row: int, first_column: int) -> int:
        """Encode both ends of the edges of a block, which are written once."""
        keys = edge_keys(block, first_row, first_column)
        every = np.array([0, len(keys)])
        dtype = index_dtype(request.source.n_cells)
        halves = (keys >> np.uint64(32), keys & np.uint64(2**32 - 1))
        level = request.settings.compression
        ends = (compress_blocks(half.astype(dtype), every, level).data for half in halves)
        return sum(map(len, ends)) // 2

    def gene_keys(self, request: Request) -> dict[int, str]:
        """Return the path of each gene's file, by matrix column."""
        return request.gene_files

    def genes(self, request: Request, columns: Array, target: Target | None) -> GeneWriter:  # noqa: ARG002
        """Return the writer of the files of some genes."""
        settings = request.settings
        return GeneFiles(
            columns,
            tuple(request.gene_files[column] for column in columns.tolist()),
            request.source.n_cells,
            settings.var_quantization,
            settings.compression,
        )

    def n_files(self, request: Request) -> int:
        """Return the number of genes, and two files of edges."""
        return len(request.gene_ids) + (2 if request.neighbors else 0)

    def finish_genes(self, *_: object) -> dict[str, FileDigest]:
        """Write nothing: each gene has its file."""
        return {}

    def make_documents(self, written: Written) -> dict[str, bytes]:
        """Return the manifests, the checksums and, last, the identity."""
        documents = make_documents(
            written.target, written.request, written.fields, written.genes, written.joined,
            written.graph,
        )  # fmt: skip
        return encode_documents(
            documents,
            written.payloads,
            joined=written.joined is not None,
            others=written.checksums,
        )

    def left_over(self, target: Target, kept: set[str], *, genes_only: bool) -> list[str]:
        """Return binary files, tables of names and checksums that are not the export's."""
        folders = (names.VAR_DIR,) if genes_only else layout.FOLDERS
        existing = target.names(*folders)
        if genes_only:
            existing = {name for name in existing if layout.is_of_genes(name)}
        return sorted(name for name in existing - kept if layout.is_removable(name))
