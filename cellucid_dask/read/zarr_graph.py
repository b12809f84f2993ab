"""Checking the neighbor graph of an export in the format cellucid-zarr, and comparing it."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.output.cellucid_zarr.arrays import GROUP
from cellucid_dask.output.cellucid_zarr.graph import GRAPH, export_graph, imbalance, key_of
from cellucid_dask.output.cellucid_zarr.store import StoredExport
from cellucid_dask.request.neighbors import open_neighbors, plan_edges
from cellucid_dask.request.settings import Settings
from cellucid_dask.source.base import Source
from cellucid_dask.store.document import parse_json
from cellucid_dask.store.target import Target


def graph_findings(stored: StoredExport) -> Iterator[str]:
    """Read the graph by blocks of rows and report what does not hold of it."""
    if f"{GRAPH}/{GROUP}" not in stored.metadata:
        return
    n_bad = n_loops = balance = 0
    is_sorted = True
    try:
        matrix = stored.graph
        if matrix is None or matrix.shape != (stored.source.n_cells, stored.source.n_cells):
            yield f"{GRAPH} is not cells x cells"
            return
        plan = plan_edges(matrix, Settings())
        for first, last in pairwise(np.cumsum((0, *plan.row_blocks)).tolist()):
            with stored.reading():
                rows = matrix.read(slice(first, last), slice(0, matrix.shape[1])).tocsr()
            check_indices(rows)
            n_bad += int(np.count_nonzero(~np.isfinite(rows.data) | (rows.data <= 0)))
            n_loops += int(np.count_nonzero(rows.diagonal(first)))
            is_sorted &= bool(rows.has_canonical_format)
            balance += imbalance(rows, first)
    except (ExportError, RequestError, ValueError) as error:
        yield f"{GRAPH} cannot be read ({error})"
        return
    if n_bad:
        yield f"{GRAPH} holds {n_bad:,} weights that are not above zero"
    if n_loops:
        yield f"{GRAPH} holds {n_loops:,} edges from a cell to itself"
    if not is_sorted:
        yield f"{GRAPH} has cells out of order"
    if balance % 2**64:
        yield f"{GRAPH} is not symmetric"


def graph_differences(stored: StoredExport, source: Source, settings: Settings) -> Iterator[str]:
    """Write the graph of the source again in a temporary folder and compare all its values."""
    if f"{GRAPH}/{GROUP}" not in stored.metadata:
        return
    key = key_of(stored.made_of)
    with tempfile.TemporaryDirectory(prefix="cellucid-dask-") as folder:
        again = Target.of(folder, {})
        try:
            neighbors = open_neighbors(source, replace(settings, connectivities=key))
            if neighbors is None:
                return
            made = export_graph(neighbors, plan_edges(neighbors, settings), again, key)
        except RequestError as error:
            yield f"{GRAPH} does not match the source: {error}"
            return
        for path in made.files:
            found, expected = stored.target.read(path), again.read(path)
            if found is None or not same_content(path, found, expected or b""):
                yield f"{GRAPH} does not match the source"
                return


def same_content(path: str, found: bytes, made: bytes) -> bool:
    """Compare files, which another version of a library may have compressed otherwise."""
    try:
        if path.rpartition("/")[2].startswith(".z"):
            return bool(parse_json(found) == parse_json(made))
        plain = zlib.decompress(made)
        return zlib.decompressobj().decompress(found, len(plain) + 1) == plain
    except (ValueError, zlib.error):
        return False
