"""An open export in the format cellucid-zarr."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.format import schema
from cellucid_dask.output.cellucid_zarr.store import StoredExport
from cellucid_dask.read.export import Export, Float32

if TYPE_CHECKING:
    import anndata

_GRAPH = "connectivities"


class ZarrExport(Export):
    """An export that is an AnnData in Zarr: its values are those of the source."""

    def __init__(self, stored: StoredExport) -> None:
        super().__init__(stored.target, schema.Documents({}, [], None, None, None, None))
        self._stored = stored
        self._n_cells = stored.source.n_cells
        self._identity = stored.about
        self._genes = stored.genes
        self._points, self._vectors = stored.shown, stored.vector_fields
        self._obs_keys = stored.source.obs_keys
        graph = stored.graph
        self._n_edges = 0 if graph is None else graph.nnz // 2

    def _read_gene(self, name: str) -> Float32:
        return self._stored.gene(self._genes[name])

    def _read_points(self, dimension: int) -> Float32:
        return self._stored.points(dimension)[0]

    def _read_vectors(self, field: str, dimension: int) -> Float32:
        return self._stored.vectors(field, dimension)

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Cell metadata, (n_cells, n_fields), as stored, with the names of the cells."""
        columns = {key: self._stored.column(key) for key in self._obs_keys}
        frame = {key: getattr(column, "array", column) for key, column in columns.items()}
        return pd.DataFrame(frame, index=pd.Index(list(self._stored.source.cell_ids())))

    def _read_graph(self) -> sparse.csr_matrix | None:
        graph = self._stored.graph
        if graph is None:
            return None
        every = slice(0, self.n_cells)
        with self._stored.reading():
            return graph.read(every, every).tocsr()

    def _read_anndata(self, wanted: list[str]) -> anndata.AnnData:
        import anndata  # noqa: PLC0415  slow to import

        columns = [self._genes[name] for name in wanted]
        stored, source = self._stored, self._stored.source
        matrix: Any = None
        if wanted and wanted == self.genes:
            matrix = stored.columns(0, len(wanted))
        elif wanted:
            blocks = [stored.columns(column, column + 1) for column in columns]
            is_sparse = sparse.issparse(blocks[0])
            matrix = sparse.hstack(blocks, "csc") if is_sparse else np.hstack(blocks)
        with stored.reading():
            table = source.var("X")
            var = pd.DataFrame(
                {name: np.asarray(table[name]) for name in map(str, table.columns)},
                index=pd.Index(list(table.index)),
            ).iloc[columns]
            every = slice(0, self.n_cells)
            obsm = {key: np.asarray(stored.embedding(key)[every]) for key in source.obsm_widths}
        graph = self.connectivity()
        return anndata.AnnData(
            matrix,
            obs=self.obs,
            var=var,
            obsm=obsm,
            obsp={} if graph is None else {_GRAPH: graph},
            uns={"cellucid": self.identity()},
        )
