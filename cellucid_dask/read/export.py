"""Reading an export back, from wherever it is, one array at a time."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from cellucid_dask.display import first_few, table
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import names, parse, schema
from cellucid_dask.format.decode import DamageError
from cellucid_dask.read.files import read_documents, read_file, read_files
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

if TYPE_CHECKING:
    import anndata
    from matplotlib.axes import Axes

Float32 = npt.NDArray[np.float32]

_MOSTLY_ZEROS = 0.5


def open_export(
    target: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> Export:
    """Open an export; only its JSON documents are read.

    Parameters
    ----------
    target
        Folder, or URL of a prefix in any fsspec store, web servers among them.
    storage_options
        fsspec options for a URL.

    Returns
    -------
    Export
        What is there, read as it is asked for.

    Raises
    ------
    RequestError
        There is no whole export.
    ExportError
        A document is damaged.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> exported = cd.open_export("exports/atlas")
    >>> exported.n_cells, exported.genes[:3]
    (300, ['MS4A1', 'IL7R', 'CD8A'])
    >>> exported.gene("LYZ").shape
    (300,)
    """
    return Export(Target.of(target, storage_options or {}))


class Export:
    """An export, read as it is asked for; `open_export` makes one."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._documents = read_documents(target)
        if names.IDENTITY not in self._documents and names.OBS_MANIFEST in self._documents:
            raise RequestError(
                f"{target.url} holds no whole export: it has no {names.IDENTITY}, which is "
                "written last. Run its export again."
            )
        self._identity = self._parse(names.IDENTITY, dict) or {}
        embeddings = self._parse(names.IDENTITY, parse.embeddings)
        columns = self._parse(names.OBS_MANIFEST, parse.columns)
        genes = self._parse(names.VAR_MANIFEST, parse.genes)
        self._edges = self._parse(names.CONNECTIVITY_MANIFEST, parse.edges)
        counts: set[int] = {
            each.n_cells for each in (embeddings, columns, genes, self._edges) if each is not None
        }
        if len(counts) != 1:
            raise ExportError(f"The documents of {target.url} do not agree on how many cells.")
        (self._n_cells,) = counts
        self._genes: dict[str, schema.Vector] = genes.vectors if genes else {}
        self._columns = columns
        self._points: dict[int, schema.Points] = embeddings.points if embeddings else {}
        self._vectors: dict[tuple[str, int], schema.File] = embeddings.vectors if embeddings else {}

    def _parse(self, name: str, read: Callable[[Any], Any]) -> Any:
        if name not in self._documents:
            return None
        try:
            return read(parse.parse(self._documents[name]))
        except DamageError as error:
            raise ExportError(f"{self._target.url}/{name} {error}.") from error

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
        """Dimensions of the embeddings, of 1, 2 and 3."""
        return sorted(self._points)

    @property
    def vector_fields(self) -> dict[str, list[int]]:
        """Dimensions of every vector field."""
        found: dict[str, list[int]] = {}
        for field, dimension in sorted(self._vectors):
            found.setdefault(field, []).append(dimension)
        return found

    def identity(self) -> dict[str, Any]:
        """Return what the export says of itself; nothing for an export of genes alone."""
        return dict(self._identity)

    def gene(self, name: str) -> Float32:
        """Read a gene.

        Returns
        -------
        ndarray
            float32, (n_cells,); NaN where the value is missing.

        Raises
        ------
        RequestError
            There is no such gene.
        ExportError
            Its file is missing or damaged.
        """
        self._check_genes([name])
        vector = self._genes[name]
        return vector.values(read_file(self._target, vector))

    def _check_genes(self, wanted: Sequence[str]) -> None:
        for name in wanted:
            if name not in self._genes:
                known = {gene.lower(): gene for gene in self._genes}
                near = difflib.get_close_matches(str(name).lower(), known, n=3)
                hint = f" Did you mean {', '.join(known[each] for each in near)}?" if near else ""
                raise RequestError(
                    f"There is no gene {name!r} among the {len(self._genes):,} of the export.{hint}"
                )

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Cell metadata, read at the first use.

        Categories are in the order of the manifest, numbers float32. Cells are numbered,
        because an export holds no names of them.
        """
        index = pd.RangeIndex(self.n_cells)
        if self._columns is None:
            return pd.DataFrame(index=index)
        files = [*self._columns.continuous.values(), *self._columns.categorical.values()]
        found: dict[str, Any] = {}
        for file, stored in zip(files, read_files(self._target, files), strict=True):
            if isinstance(file, schema.Vector):
                found[file.key] = file.values(stored)
            else:
                found[file.key] = self._categories(file, stored)
        return pd.DataFrame(found, index=index)

    def _categories(self, file: schema.Codes, stored: Array) -> pd.Categorical:
        codes = np.where(stored == file.missing, -1, stored.astype(np.int32))
        if codes.max(initial=-1) >= len(file.categories):
            raise ExportError(
                f"{self._target.url}/{file.path} has a code that stands for no category."
            )
        return pd.Categorical.from_codes(codes, pd.Index(file.categories, dtype=object))

    def points(self, dimension: int = 2) -> Float32:
        """Read an embedding, as the viewer shows it: float32, (n_cells, dimension)."""
        if dimension not in self._points:
            known = ", ".join(map(str, self.dimensions)) or "none"
            raise RequestError(f"There are no points of dimension {dimension!r}, but of: {known}.")
        return read_file(self._target, self._points[dimension])

    def vectors(self, field: str, dimension: int = 2) -> Float32:
        """Read a vector field: float32, (n_cells, dimension)."""
        if (field, dimension) not in self._vectors:
            known = ", ".join(f"{name} {dims}" for name, dims in self.vector_fields.items())
            raise RequestError(
                f"There is no vector field {field!r} of dimension {dimension!r}; "
                f"there are: {known or 'none'}."
            )
        return read_file(self._target, self._vectors[field, dimension])

    def connectivity(self) -> sparse.csr_matrix | None:
        """Read the neighbor graph.

        Returns
        -------
        csr_matrix or None
            Symmetric, (n_cells, n_cells), of float32 ones; ``None`` without a graph.
        """
        if self._edges is None:
            return None
        for dimension in self.dimensions[:1]:  # are there really as many cells?
            self.points(dimension)
        ends = list(read_files(self._target, list(self._edges.files())))
        if max(end.max(initial=0) for end in ends) >= max(self.n_cells, 1):
            raise ExportError(f"The edges of {self._target.url} name cells that do not exist.")
        sources, destinations = ends
        rows = np.concatenate([sources, destinations])
        columns = np.concatenate([destinations, sources])
        ones = np.ones(len(rows), np.float32)
        return sparse.csr_matrix((ones, (rows, columns)), shape=(self.n_cells, self.n_cells))

    def to_anndata(self, genes: Sequence[str] | None = None) -> anndata.AnnData:
        """Read all of it, or some genes, into an AnnData.

        Parameters
        ----------
        genes
            Which genes; ``None`` for all, which must fit in memory.

        Returns
        -------
        AnnData
            ``X`` float32, CSR if at least half of it is zero, otherwise dense; obs;
            ``obsm["X_points_2d"]`` and the like; ``obsm["velocity_umap_2d"]`` and the like of
            vector fields; ``obsp["connectivities"]``; ``uns["cellucid"]``, where it comes from.
        """
        import anndata  # noqa: PLC0415  slow to import

        wanted = self.genes if genes is None else list(genes)
        self._check_genes(wanted)
        obs = self.obs.set_axis(pd.RangeIndex(self.n_cells).astype(str))
        adata = anndata.AnnData(
            self._matrix(wanted) if wanted else None, obs=obs, var=pd.DataFrame(index=wanted)
        )
        for dimension in self.dimensions:
            adata.obsm[f"X_points_{dimension}d"] = self.points(dimension)
        for field, dimension in self._vectors:
            adata.obsm[f"{field}_{dimension}d"] = self.vectors(field, dimension)
        if (graph := self.connectivity()) is not None:
            adata.obsp["connectivities"] = graph
        kept = ("id", "name", "created_at", "cellucid_data_version")
        adata.uns["cellucid"] = {key: self._identity[key] for key in kept if key in self._identity}
        return adata

    def _matrix(self, genes: Sequence[str]) -> Any:
        files = [self._genes[name] for name in genes]
        places, values, counts = [], [], [0]
        for file, stored in zip(files, read_files(self._target, files), strict=True):
            column = file.values(stored)
            (rows,) = np.nonzero(column)  # NaN counts
            places.append(rows.astype(np.int32))
            values.append(column[rows])
            counts.append(len(rows))
        matrix = sparse.csc_matrix(
            (np.concatenate(values), np.concatenate(places), np.cumsum(counts)),
            shape=(self.n_cells, len(genes)),
        )
        if matrix.nnz > (1 - _MOSTLY_ZEROS) * self.n_cells * len(genes):
            return matrix.toarray()
        return matrix.tocsr()

    def plot(self, key: str, dimension: int = 2, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Show the cells, colored by an obs field or a gene (in this order).

        Parameters
        ----------
        key
            An obs field, or a gene.
        dimension
            2 or 3.
        ax
            Where to draw; a new figure by default.
        **options
            For matplotlib's ``Axes.scatter``, such as ``s`` and ``cmap``.

        Raises
        ------
        RequestError
            There is no such key or embedding, or matplotlib is not installed.
        """
        from cellucid_dask.read.plot import scatter  # noqa: PLC0415  matplotlib is optional

        if dimension not in (2, 3):
            raise RequestError(f"A plot has 2 or 3 dimensions, not {dimension!r}.")
        values: Any = self.obs[key].array if key in self.obs else self.gene(key)
        return scatter(self.points(dimension), values, key, ax, options)

    def __repr__(self) -> str:
        """Return what is there in a few lines."""
        return "\n".join(
            [f"Export {self._target.url}", *(f"  {a:12} {b}" for a, b in self._rows())]
        )

    def _repr_html_(self) -> str:
        return table(f"Export {self._target.url}", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        columns = self._columns
        keys = [*columns.continuous, *columns.categorical] if columns else []
        rows = [
            ("name", str(self._identity.get("name", ""))),
            ("cells", f"{self.n_cells:,}"),
            ("genes", f"{len(self._genes):,}{_some(self.genes)}"),
            ("obs", f"{len(keys):,}{_some(keys)}"),
            ("points", ", ".join(f"{each}D" for each in self.dimensions)),
            ("vectors", ", ".join(self.vector_fields)),
            ("edges", f"{self._edges.n_edges:,}" if self._edges else ""),
        ]
        return [(name, text) for name, text in rows if text]


def _some(keys: Sequence[str]) -> str:
    return f" ({first_few(keys)})" if keys else ""
