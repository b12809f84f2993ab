"""Assembling decoded arrays into pandas and scipy objects."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.errors import ExportError
from cellucid_dask.format import names, schema
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

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
        raise ExportError(f"{url}/{file.path} has a code without a category.")
    return pd.Categorical.from_codes(codes, pd.Index(file.categories, dtype=object))


def adjacency(sources: Array, destinations: Array, n_cells: int) -> sparse.csr_matrix:
    """Return the symmetric matrix, (n_cells, n_cells), of undirected edges, float32 ones."""
    rows = np.concatenate([sources, destinations])
    columns = np.concatenate([destinations, sources])
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(n_cells, n_cells))


def cell_ids(target: Target, path: str, n_cells: int) -> list[str]:
    """Read the names of the cells.

    Raises
    ------
    ExportError
        They are missing or damaged.
    """
    data = target.read(path)
    try:
        text = gzip.decompress(data) if data and path.endswith(".gz") else data
        found = json.loads(text or b"")
    except (OSError, EOFError, zlib.error, ValueError):
        found = None
    if not isinstance(found, list) or len(found) != n_cells:
        raise ExportError(f"{target}/{path} does not hold the names of {n_cells:,} cells.")
    return list(map(str, found))


def gene_table(target: Target, identity: Json, genes: Sequence[str]) -> pd.DataFrame:
    """Return the genes, and their other names if the export has some, as a var table.

    Raises
    ------
    ExportError
        The other names are missing or damaged.
    """
    columns = {}
    if "gene_aliases" in identity:
        try:
            found = json.loads(target.read(names.ALIASES) or b"")
            columns = {str(found["column"]): [found["names"][row] for row in range(len(genes))]}
        except (ValueError, LookupError, TypeError):
            raise ExportError(
                f"{target}/{names.ALIASES} does not hold other names of the genes."
            ) from None
    return pd.DataFrame(columns, index=pd.Index(list(genes), dtype=object))


def embedding_keys(identity: Json, dimensions: Sequence[int]) -> dict[str, int]:
    """Return the dimensions of the embeddings by the keys of the arrays they were made of."""
    settings = identity.get("export_settings")
    recorded = settings.get("embeddings") if isinstance(settings, dict) else None
    if not isinstance(recorded, list) or len(recorded) != len(dimensions):
        recorded = ["X_umap"] * len(dimensions)  # other programs export nothing else
    keys = [str(spec).rpartition(":")[0] or str(spec) for spec in recorded]
    # of several dimensions of one array that of two, which scanpy draws
    pairs = sorted(zip(dimensions, keys, strict=True), key=lambda pair: pair[0] == 2)
    return {key: dimension for dimension, key in pairs}


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
