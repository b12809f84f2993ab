"""Plain arrays and tables, as an in-memory pipeline holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cellucid_dask.source.anndata_file import as_dense
from cellucid_dask.source.anndata_object import matrix_of
from cellucid_dask.source.matrix import Matrix


@dataclass(frozen=True)
class ArraysSource:
    """Arrays whose rows are the same cells.

    Attributes
    ----------
    n_cells
        Number of rows.
    obs_table, var_table
        Cell and gene metadata; their indexes name nothing but genes.
    expression
        Cells x genes, of any kind that `matrix_of` wraps.
    arrays, graphs
        What obsm and obsp of an AnnData would hold.
    """

    n_cells: int
    obs_table: pd.DataFrame
    var_table: pd.DataFrame = field(default_factory=pd.DataFrame)
    expression: Any = None
    arrays: Mapping[str, Any] = field(default_factory=dict)
    graphs: Mapping[str, Any] = field(default_factory=dict)
    name: str = "gene_expression"

    @property
    def layers(self) -> list[str]:
        """``["X"]``, if there is expression."""
        return [] if self.expression is None else ["X"]

    @property
    def obs_keys(self) -> list[str]:
        """Columns of obs."""
        return [str(name) for name in self.obs_table.columns]

    @property
    def obsm_widths(self) -> dict[str, int]:
        """Arrays over cells, and their widths."""
        return {key: int(values.shape[1]) for key, values in self.arrays.items()}

    @property
    def obsp_keys(self) -> list[str]:
        """Graphs over cells."""
        return sorted(self.graphs)

    def obs(self, key: str) -> Any:
        """Return one column."""
        return self.obs_table.iloc[:, self.obs_keys.index(key)]

    def obsm(self, key: str) -> np.ndarray[Any, Any]:
        """Read one array."""
        values = self.arrays[key]
        return as_dense(values[:] if hasattr(values, "chunks") else values)

    def obsp(self, key: str) -> Matrix | None:
        """Wrap one graph."""
        return matrix_of(self.graphs[key], key)

    def var(self, layer: str) -> pd.DataFrame:  # noqa: ARG002  there is one
        """Return the genes."""
        return self.var_table

    def matrix(self, layer: str) -> Matrix | None:  # noqa: ARG002  there is one
        """Wrap the expression."""
        return matrix_of(self.expression, "gene_expression")

    def fingerprint(self, layer: str) -> str:
        """Return a digest of the expression."""
        matrix = self.matrix(layer)
        return "" if matrix is None else matrix.fingerprint()
