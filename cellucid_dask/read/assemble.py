"""Assembling decoded arrays into pandas and scipy objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.errors import ExportError
from cellucid_dask.format import schema
from cellucid_dask.types import Array

_SPARSE_FRACTION = 0.5  # of zeros, from which a matrix stays sparse


def categories(file: schema.Codes, stored: Array, url: str) -> pd.Categorical:
    """Return a categorical column.

    Parameters
    ----------
    file
        What the manifest says of it.
    stored
        Its codes, (n_cells,).
    url
        Of the export, for error messages.

    Raises
    ------
    ExportError
        A code stands for no category.
    """
    codes = np.where(stored == file.missing, -1, stored.astype(np.int32))
    if codes.max(initial=-1) >= len(file.categories):
        raise ExportError(f"{url}/{file.path} has a code that stands for no category.")
    return pd.Categorical.from_codes(codes, pd.Index(file.categories, dtype=object))


def adjacency(sources: Array, destinations: Array, n_cells: int) -> sparse.csr_matrix:
    """Return the symmetric matrix, (n_cells, n_cells), of undirected edges, float32 ones."""
    rows = np.concatenate([sources, destinations])
    columns = np.concatenate([destinations, sources])
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(n_cells, n_cells))


def gene_matrix(genes: Iterable[Array], shape: tuple[int, int]) -> Any:
    """Return a matrix, (n_cells, n_genes), of genes that are read one at a time.

    CSR if at least half of it is zero, otherwise dense; None without genes.
    """
    rows, values = [], []
    for column in genes:
        (nonzero,) = np.nonzero(column)  # NaN is not zero
        rows.append(nonzero.astype(np.int32))
        values.append(column[nonzero])
    if not rows:
        return None
    indptr = np.cumsum([0, *map(len, rows)])
    matrix = sparse.csc_matrix((np.concatenate(values), np.concatenate(rows), indptr), shape)
    if matrix.nnz > (1 - _SPARSE_FRACTION) * np.prod(shape):
        return matrix.toarray()
    return matrix.tocsr()
