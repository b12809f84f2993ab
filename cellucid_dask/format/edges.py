"""The document that describes the neighbor graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellucid_dask.format import names

_MAX_UINT16_CELLS = 65_535


def index_dtype(n_cells: int) -> np.dtype[Any]:
    """Return the dtype of cell indices in the two files of edges.

    Parameters
    ----------
    n_cells
        Number of cells.

    Returns
    -------
    numpy.dtype
        Little-endian uint16 up to 65,535 cells, uint32 above.
    """
    return np.dtype("<u2" if n_cells <= _MAX_UINT16_CELLS else "<u4")


def connectivity_manifest(
    n_cells: int, n_edges: int, max_neighbors: int, compression: int | None
) -> dict[str, Any]:
    """Describe the edges of an export.

    Parameters
    ----------
    n_cells
        Number of cells.
    n_edges
        Undirected edges, each counted once.
    max_neighbors
        Edges of the cell with the most.
    compression
        gzip level 1-9, or None.

    Returns
    -------
    dict
        The content of ``connectivity_manifest.json``.
    """
    dtype = index_dtype(n_cells)
    return {
        "format": "edge_pairs",
        "n_cells": int(n_cells),
        "n_edges": int(n_edges),
        "max_neighbors": int(max_neighbors),
        "index_bytes": dtype.itemsize,
        "index_dtype": dtype.name,
        "sourcesPath": names.edge_sources_path(bool(compression)),
        "destinationsPath": names.edge_destinations_path(bool(compression)),
        "compression": compression or None,
    }
