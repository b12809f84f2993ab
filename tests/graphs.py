"""Small neighbor graphs, and their edges recomputed."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from hypothesis import strategies as st
from scipy import sparse

from tests.viewer_reader import ReadExport

VALUES = [0.0, 1.0, -1.0, 0.25, np.nan]


def edges_of(matrix: Any) -> tuple[Any, Any, int]:
    """Recompute sources, destinations and the largest number of neighbors."""
    stored = sparse.coo_matrix(matrix)
    places = (stored.row, stored.col)
    pattern = sparse.csr_matrix((stored.data != 0, places), shape=stored.shape, dtype=bool)
    both = (pattern + pattern.T).tolil()
    both.setdiag(0)
    whole = both.tocsr()
    whole.eliminate_zeros()
    upper = sparse.triu(whole, 1).tocsr()
    upper.sort_indices()
    upper = upper.tocoo()
    return upper.row, upper.col, int(np.diff(whole.indptr).max(initial=0))


def assert_edges(export: ReadExport, matrix: Any) -> None:
    sources, destinations, most = edges_of(matrix)
    np.testing.assert_array_equal(export.edges[0], sources)
    np.testing.assert_array_equal(export.edges[1], destinations)
    assert export.connectivity_manifest["max_neighbors"] == most
    assert export.identity["stats"]["n_edges"] == len(sources)
    assert export.identity["stats"]["has_connectivity"] is True


def kept_as(matrix: Any) -> ad.AnnData:
    """Make cells with no genes and this graph."""
    n_cells = matrix.shape[0]
    points = np.random.default_rng(3).normal(size=(n_cells, 2)).astype(np.float32)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    return ad.AnnData(obs=obs, obsm={"X_umap": points}, obsp={"graph": matrix})


def neighbors(n_cells: int, count: int, seed: int = 0) -> sparse.csr_matrix:
    random = np.random.default_rng(seed)
    columns = random.integers(0, n_cells, (n_cells, count))
    values = random.choice([0.5, 1.0, 2.0], columns.shape)
    indptr = np.arange(0, columns.size + 1, count)
    matrix = sparse.csr_matrix((values.ravel(), columns.ravel(), indptr), (n_cells, n_cells))
    matrix.sum_duplicates()
    return matrix


@st.composite
def graphs(draw: st.DrawFn, most: int = 24) -> Any:
    """Draw a CSR matrix in no order, with zeros that are stored and edges of a cell to itself."""
    n_cells = draw(st.integers(2, most))
    cell = st.integers(0, n_cells - 1)
    stored = draw(
        st.lists(
            st.tuples(cell, cell, st.sampled_from(VALUES)), max_size=60, unique_by=lambda e: e[:2]
        )
    )
    stored.sort(key=lambda entry: entry[0])
    rows = np.array([row for row, _, _ in stored], dtype=np.int32)
    indptr = np.searchsorted(rows, np.arange(n_cells + 1))
    columns = np.array([column for _, column, _ in stored], dtype=np.int32)
    values = np.array([value for _, _, value in stored], dtype=np.float64)
    return sparse.csr_matrix((values, columns, indptr), shape=(n_cells, n_cells))
