"""An open export, whose arrays are read one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from cellucid_dask.display import first_few, printable, table
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import schema
from cellucid_dask.read import assemble
from cellucid_dask.read.drawing import Drawing
from cellucid_dask.read.files import read_file, read_files
from cellucid_dask.read.known import check_known
from cellucid_dask.read.view import View
from cellucid_dask.store.target import Target

if TYPE_CHECKING:
    import anndata

Float32 = npt.NDArray[np.float32]


class Export(Drawing):
    """An export, returned by `open_export`. Arrays are read when they are accessed.

    All methods that read files raise an `ExportError` if a file is missing or damaged.
    """

    def __init__(self, target: Target, documents: schema.Documents) -> None:
        self._target = target
        self._n_cells = documents.n_cells
        self._identity = documents.identity
        self._genes: Mapping[str, Any] = documents.genes.vectors if documents.genes else {}
        self._columns, self._edges = columns, edges = documents.columns, documents.edges
        self._obs_keys = [*columns.continuous, *columns.categorical] if columns else []
        self._n_edges = edges.n_edges if edges else 0
        embeddings = documents.embeddings
        self._points: Mapping[int, Any] = embeddings.points if embeddings else {}
        self._vectors: Mapping[tuple[str, int], Any] = embeddings.vectors if embeddings else {}

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self._n_cells

    @property
    def genes(self) -> list[str]:
        """Names of the genes, in the order of the manifest."""
        return list(self._genes)

    @property
    def dimensions(self) -> list[int]:
        """Dimensions of the embeddings, such as ``[2, 3]``."""
        return sorted(self._points)

    @property
    def vector_fields(self) -> dict[str, list[int]]:
        """Dimensions of each vector field, by name."""
        dimensions: dict[str, list[int]] = {}
        for field, dimension in sorted(self._vectors):
            dimensions.setdefault(field, []).append(dimension)
        return dimensions

    def identity(self) -> dict[str, Any]:
        """Return the content of ``dataset_identity.json``; empty for an export of genes only."""
        return dict(self._identity)

    def view(self, height: int = 600) -> View:
        """Show the export in a notebook, served by this process.

        Parameters
        ----------
        height
            Height of the frame in pixels.

        Returns
        -------
        View
            The page, displayed as the last line of a cell. ``url`` is its address (behind
            JupyterHub, through the proxy of the hub), and ``close()`` stops serving it.
        """
        return View(self._target, height)

    def gene(self, name: str) -> Float32:
        """Read a gene.

        Returns
        -------
        ndarray
            float32, (n_cells,); NaN where the value is missing. Of counts above 2^24, in
            cellucid-zarr, float64.

        Raises
        ------
        RequestError
            There is no such gene.
        """
        check_known([name], self._genes)
        return self._read_gene(name)

    def _read_gene(self, name: str) -> Float32:
        vector: schema.Vector = self._genes[name]
        return vector.values(read_file(self._target, vector))

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Cell metadata, (n_cells, n_fields), read on first access.

        Columns are categorical, with categories in the order of the manifest, or float32. The
        index is the number of the cell.
        """
        index = pd.RangeIndex(self.n_cells)
        if self._columns is None:
            return pd.DataFrame(index=index)
        files: list[schema.Vector | schema.Codes] = [
            *self._columns.continuous.values(),
            *self._columns.categorical.values(),
        ]
        columns: dict[str, Any] = {}
        for file, stored in zip(files, read_files(self._target, files), strict=True):
            if isinstance(file, schema.Vector):
                columns[file.key] = file.values(stored)
            else:
                columns[file.key] = assemble.categories(file, stored, str(self._target))
        return pd.DataFrame(columns, index=index)

    def points(self, dimension: int = 2) -> Float32:
        """Read an embedding, as the viewer shows it.

        Parameters
        ----------
        dimension
            1, 2 or 3.

        Returns
        -------
        ndarray
            float32, (n_cells, dimension), from -1 to 1.

        Raises
        ------
        RequestError
            There is no such embedding.
        """
        if dimension not in self._points:
            known = ", ".join(map(str, self.dimensions)) or "none"
            raise RequestError(f"There are no points of dimension {dimension!r}, but of: {known}.")
        return self._read_points(dimension)

    def _read_points(self, dimension: int) -> Float32:
        return read_file(self._target, self._points[dimension])

    def vectors(self, field: str, dimension: int = 2) -> Float32:
        """Read a vector field.

        Parameters
        ----------
        field
            Its name, such as ``"velocity_umap"``.
        dimension
            1, 2 or 3.

        Returns
        -------
        ndarray
            float32, (n_cells, dimension), in the scale of the points.

        Raises
        ------
        RequestError
            There is no such vector field.
        """
        if (field, dimension) not in self._vectors:
            known = ", ".join(f"{name} {dims}" for name, dims in self.vector_fields.items())
            raise RequestError(
                f"There is no vector field {field!r} of dimension {dimension!r}; "
                f"there are: {known or 'none'}."
            )
        return self._read_vectors(field, dimension)

    def _read_vectors(self, field: str, dimension: int) -> Float32:
        return read_file(self._target, self._vectors[field, dimension])

    def connectivity(self) -> sparse.csr_matrix | None:
        """Read the neighbor graph.

        Returns
        -------
        csr_matrix or None
            Symmetric, (n_cells, n_cells), float32: the weights of the edges in cellucid-zarr, else
            ones; ``None`` without a graph.
        """
        return self._read_graph()

    def _read_graph(self) -> sparse.csr_matrix | None:
        if self._edges is None:
            return None
        for dimension in self.dimensions[:1]:  # confirms n_cells before memory is allocated for it
            self.points(dimension)
        ends = list(read_files(self._target, list(self._edges.files())))
        if max(end.max(initial=0) for end in ends) >= max(self.n_cells, 1):
            raise ExportError(f"The edges of {self._target} name cells that do not exist.")
        return assemble.adjacency(ends[0], ends[1], self.n_cells)

    def to_anndata(self, genes: Sequence[str] | None = None) -> anndata.AnnData:
        """Read the export, or some of its genes, into an AnnData.

        Parameters
        ----------
        genes
            Names of genes; ``None`` for all, which must fit in memory.

        Returns
        -------
        AnnData
            What the format has. Of cellucid-zarr all as it is stored; else
            ``X`` float32, CSR if at least half of it is zero, otherwise dense; obs, with the
            names of the cells if the export has them; other names of the genes in var;
            ``obsm["X_points_2d"]`` and the like, also by the keys that scanpy looks for, such as
            ``obsm["X_umap"]``; ``obsm["velocity_umap_2d"]`` and the like of
            vector fields; ``obsp["connectivities"]``; ``uns["cellucid"]``, its origin.

        Raises
        ------
        RequestError
            There is no such gene.
        """
        wanted = self.genes if genes is None else list(genes)
        check_known(wanted, self._genes)
        return self._read_anndata(wanted)

    def _read_anndata(self, wanted: list[str]) -> anndata.AnnData:
        import anndata  # noqa: PLC0415  slow to import

        files = [self._genes[name] for name in wanted]
        stored = read_files(self._target, files)
        values = (file.values(each) for file, each in zip(files, stored, strict=True))
        matrix = assemble.gene_matrix(values, (self.n_cells, len(wanted)))
        obsm = {f"X_points_{dimension}d": self.points(dimension) for dimension in self.dimensions}
        for field, dimension in self._vectors:
            obsm[f"{field}_{dimension}d"] = self.vectors(field, dimension)
        for key, dimension in assemble.embedding_keys(self._identity, self.dimensions).items():
            obsm[key] = obsm[f"X_points_{dimension}d"]
        graph = self.connectivity()
        origin = ("id", "name", "created_at", "cellucid_data_version")
        return anndata.AnnData(
            matrix,
            obs=self.obs.set_axis(self.cell_ids() or list(map(str, range(self.n_cells)))),
            var=assemble.gene_table(self._target, self._identity, self.genes).loc[wanted],
            obsm=obsm,
            obsp={} if graph is None else {"connectivities": graph},
            uns={"cellucid": {key: self._identity[key] for key in origin if key in self._identity}},
        )

    def cell_ids(self) -> list[str] | None:
        """Read the names of the cells, if the export has them (``cell_ids=True``)."""
        path = self._identity.get("cell_ids")
        return None if path is None else assemble.cell_ids(self._target, str(path), self.n_cells)

    def __repr__(self) -> str:
        """Summarize the content in a few lines."""
        lines = [f"Export {self._target}", *(f"  {a:12} {b}" for a, b in self._rows())]
        return printable("\n".join(lines))

    def _repr_html_(self) -> str:
        return table(f"Export {self._target}", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        keys = self._obs_keys
        rows = [
            ("name", str(self._identity.get("name", ""))),
            ("cells", f"{self.n_cells:,}"),
            ("genes", f"{len(self._genes):,}{_some(self.genes)}"),
            ("obs", f"{len(keys):,}{_some(keys)}"),
            ("points", ", ".join(f"{each}D" for each in self.dimensions)),
            ("vectors", ", ".join(self.vector_fields)),
            ("edges", f"{self._n_edges:,}" if self._n_edges else ""),
        ]
        return [(name, text) for name, text in rows if text]


def _some(keys: Sequence[str]) -> str:
    return f" ({first_few(keys)})" if keys else ""
