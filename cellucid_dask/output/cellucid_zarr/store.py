"""An export read back: the AnnData that it is, and what a reader shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from cellucid_dask.encode.compressed import as_scipy
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.fields.points import normalize
from cellucid_dask.fields.vector_fields import scale_vector_field
from cellucid_dask.format.decode import DamageError
from cellucid_dask.output.cellucid_zarr.arrays import (
    ARRAY,
    ATTRIBUTES,
    GROUP,
    METADATA,
    WHOLE,
    decode_text,
)
from cellucid_dask.output.cellucid_zarr.fields import OURS, shown_by_default
from cellucid_dask.output.cellucid_zarr.graph import GRAPH
from cellucid_dask.source.anndata_file import FileSource, open_zarr
from cellucid_dask.source.matrix import Matrix, SparseMatrix
from cellucid_dask.source.reading import UnreadableError, explaining
from cellucid_dask.store.document import DocumentError, parse_json
from cellucid_dask.store.preflight import check_answers
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

_GRAPH = GRAPH.partition("/")[2]
_MANY_ROWS = 2**23  # a gene of so many cells takes 32 MiB


def is_store(target: Target) -> bool:
    """Whether a target is an export of this format, complete or not.

    Raises
    ------
    RequestError
        Its store does not answer.
    """
    check_answers(target, METADATA)
    return target.read(METADATA) is not None or target.read(GROUP) is not None


def describe_below(target: Target, folder: str) -> Json | None:
    """Return id, name and counts of the export in a subfolder; None if there is none.

    Raises
    ------
    DamageError, DocumentError
        Its files are not as they must be.
    """
    data = target.read(f"{folder}/{METADATA}")
    if data is None:
        return None
    files = [f"{folder}/uns/cellucid/{key}/0" for key in ("id", "name")]
    try:
        metadata = parse_json(data)["metadata"]
        if f"uns/cellucid/{GROUP}" not in metadata:
            return None  # another AnnData
        dataset_id, name = (decode_text(data) for data in target.read_many(files))
        (n_cells,) = metadata[f"obs/_index/{ARRAY}"]["shape"]
        of_genes = metadata.get(f"X/{ARRAY}") or metadata.get(f"X/{ATTRIBUTES}") or {}
        n_genes = of_genes.get("shape", (n_cells, 0))[1]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamageError("does not describe an export") from None
    return {"id": dataset_id, "name": name, "stats": {"n_cells": n_cells, "n_genes": n_genes}}


@dataclass(frozen=True)
class StoredExport:
    """A complete export.

    Attributes
    ----------
    target, source
        Where it is, and the AnnData there.
    metadata
        The consolidated metadata, by path.
    """

    target: Target
    source: FileSource
    metadata: Json

    @classmethod
    def open(cls, target: Target) -> StoredExport:
        """Open an export.

        Raises
        ------
        RequestError
            It is not complete, or no AnnData.
        ExportError
            Its metadata are damaged.
        """
        data = target.read(METADATA)
        if data is None:
            raise RequestError(
                f"{target} contains no complete export: it has no {METADATA}, written last. "
                "Run its export again."
            )
        try:
            metadata = parse_json(data)["metadata"]
        except (DocumentError, KeyError):
            raise ExportError(f"{target}/{METADATA} cannot be read.") from None
        if not isinstance(metadata, dict):
            raise ExportError(f"{target}/{METADATA} cannot be read.")
        try:
            with explaining(str(target)):
                source = open_zarr(target, None, False, ExitStack())  # noqa: FBT003
        except UnreadableError as error:
            raise ExportError(str(error)) from error
        _check_length(target, "obs", source.n_cells)
        return cls(target, source, metadata)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what is wrong with an element into an `ExportError` that names the export."""
        try:
            yield
        except UnreadableError as error:
            raise ExportError(f"{self.target}: {error}") from error

    @cached_property
    def about(self) -> Json:
        """What the export says of itself."""
        with self.reading():
            uns = self.source.uns()
        about = uns.get("cellucid", {}) if isinstance(uns, Mapping) else {}
        return _plain(about) if isinstance(about, Mapping) else {}

    @cached_property
    def made_of(self) -> Json:
        """Layer and normalization of the values of its source."""
        with self.reading():
            made_of = self.source.uns().get(OURS, {})
        return _plain(made_of) if isinstance(made_of, Mapping) else {}

    @property
    def is_ours(self) -> bool:
        """Whether this package wrote it: exports of others have no checksums."""
        return f"uns/{OURS}/{GROUP}" in self.metadata

    @property
    def gene_column(self) -> str:
        """The column of var that names the genes, or ``"index"``."""
        return str(self.about.get("defaults", {}).get("geneIdColumn", "index"))

    @cached_property
    def genes(self) -> dict[str, int]:
        """The column of each gene in ``X``."""
        if "X" not in self.source.layers:
            return {}
        with self.reading():
            table = self.source.var("X")
            _check_length(self.target, "var", len(table))
            names: Any = table.index if self.gene_column == "index" else table[self.gene_column]
            return {str(name): column for column, name in enumerate(names)}

    @cached_property
    def matrix(self) -> Matrix:
        """The matrix ``X``."""
        with self.reading():
            matrix = self.source.matrix("X")
        if matrix is None:
            raise ExportError(f"{self.target} holds no matrix.")
        return matrix

    @property
    def graph(self) -> SparseMatrix | None:
        """The neighbor graph; ``None`` if there is none."""
        with self.reading():
            graph = self.source.obsp(_GRAPH) if _GRAPH in self.source.obsp_keys else None
        if graph is None or isinstance(graph, SparseMatrix):
            return graph
        raise ExportError(f"{self.target}/{GRAPH} is not a sparse matrix.")

    def columns(self, first: int, last: int) -> Any:
        """Read genes: ``X[:, first:last]``, CSC or dense."""
        with self.reading():
            every = slice(0, self.source.n_cells)
            return as_scipy(self.matrix.read(every, slice(first, last)))

    def gene(self, column: int) -> Array:
        """Read a gene: float32 or, of large counts, float64, (n_cells,)."""
        block = self.columns(column, column + 1)
        values = block.toarray() if hasattr(block, "toarray") else block
        dtype = np.float64 if self.matrix.dtype == np.float64 else np.float32
        return np.asarray(values, dtype).reshape(-1)

    @cached_property
    def shown(self) -> dict[int, tuple[str, tuple[int, ...]]]:
        """Key and columns of the array of obsm that is shown, by dimension."""
        widths = self.source.obsm_widths
        shown = {d: (key, tuple(range(d))) for d, key in shown_by_default(widths).items()}
        defaults = self.about.get("defaults", {})
        for d in (1, 2, 3):
            spec = defaults.get(f"embedding{d}d")
            if isinstance(spec, str) and spec in widths:
                shown[d] = spec, tuple(range(d))
            elif isinstance(spec, dict) and spec.get("key") in widths:
                shown[d] = spec["key"], tuple(map(int, spec.get("columns", range(d))))
        return dict(sorted(shown.items()))

    @cached_property
    def vector_fields(self) -> dict[tuple[str, int], str]:
        """Key of the array of obsm of each vector field, by its name and dimension."""
        widths = self.source.obsm_widths
        found = {}
        for key, width in widths.items():
            for d, (basis, _) in self.shown.items():
                suffix = f"_{basis.removeprefix('X_')}"
                if (
                    d == width
                    and key != basis
                    and key.endswith(suffix)
                    and not key.startswith("X_")
                ):
                    found[key, d] = key
        return found

    def embedding(self, key: str) -> Any:
        """Open an array of obsm, which has a row for each cell."""
        with self.reading():
            stored = self.source.obsm(key)
        if stored.shape[0] != (n_cells := self.source.n_cells):
            raise ExportError(
                f"{self.target}: obsm/{key} has {stored.shape[0]:,} rows, not {n_cells:,}."
            )
        return stored

    def points(self, dimension: int) -> tuple[Array, float]:
        """Read an embedding as it is shown, and the scale by which it was multiplied."""
        key, columns = self.shown[dimension]
        with self.reading():
            stored = self.embedding(key)
            return normalize(np.asarray(stored[0 : stored.shape[0]])[:, columns], key)

    def vectors(self, field: str, dimension: int) -> Array:
        """Read a vector field in the scale of its points."""
        key = self.vector_fields[field, dimension]
        _, scale = self.points(dimension)
        with self.reading():
            stored = self.embedding(key)
            return scale_vector_field(np.asarray(stored[0 : stored.shape[0]]), scale, key)

    def column(self, key: str) -> Any:
        """Read a column of obs."""
        with self.reading():
            column = self.source.obs(key)
            return column if not hasattr(column, "mask") else pd.Series(column[0 : len(column)])


def _check_length(target: Target, table: str, n_rows: int) -> None:
    """Check that a table has no more rows than its index has files for, before memory is taken."""
    if n_rows <= _MANY_ROWS or (not target.is_local and target.is_web):
        return
    n_files = max(len(target.files(f"{table}/{name}")) for name in target.folders(table) or {""})
    if n_rows > n_files * WHOLE:
        raise ExportError(
            f"{target}: {table} is damaged: it says that it has {n_rows:,} rows, and is stored in "
            f"{n_files:,} files."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
