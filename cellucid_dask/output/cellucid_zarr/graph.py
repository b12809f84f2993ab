"""The neighbor graph in ``obsp``: a symmetric CSR matrix, written row after row as it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cellucid_dask.encode.compressed import as_scipy
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.errors import RequestError
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output.cellucid_zarr.arrays import WHOLE, ArraySpec, Hierarchy, encoding
from cellucid_dask.output.cellucid_zarr.expression import Cutter
from cellucid_dask.planning.edges import EdgePlan
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

if TYPE_CHECKING:
    from scipy import sparse

GRAPH = "obsp/connectivities"
_USUAL = "connectivities"
# Odd numbers, with which cells and weights are mixed into one number of 64 bits.
_MIX = tuple(
    np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
)


@dataclass(frozen=True)
class StoredGraph:
    """The graph of an export.

    Attributes
    ----------
    files
        Digests of its files, by path.
    metadata
        What describes its groups and arrays, by path.
    scratch_bytes
        None: nothing waits in scratch.
    """

    files: dict[str, FileDigest]
    metadata: dict[str, Json]
    scratch_bytes: int = 0


def key_of(made_of: Json) -> str:
    """Return the key that a graph has in its source, as `made_of` says."""
    return str(made_of.get("connectivities", _USUAL))


def made_of_graph(key: str | None) -> Json:
    """Return what must be known to find a graph in its source again."""
    return {} if key in (None, _USUAL) else {"connectivities": key}


def sampled_bytes(block: Any) -> int:
    """Return the bytes that a block of whole rows, or a part of them, takes."""
    from scipy import sparse  # noqa: PLC0415  slow to import

    rows = sparse.csr_matrix(as_scipy(block))
    arrays = rows.data.astype("<f4"), rows.indices.astype("<i4"), rows.indptr[1:].astype("<i4")
    return sum(
        len(spec.encode(values[at : at + WHOLE]))
        for values in arrays
        for spec in [ArraySpec.vector("", len(values), values.dtype)]
        for at in range(0, len(values), WHOLE)
    )


def export_graph(neighbors: Matrix, plan: EdgePlan, target: Target, key: str) -> StoredGraph:
    """Write a neighbor matrix.

    Parameters
    ----------
    neighbors
        Cells x cells, symmetric. Its diagonal is skipped.
    plan
        The blocks in which it is read.
    target
        The export.
    key
        What to call the matrix in errors.

    Raises
    ------
    RequestError
        It is not symmetric, or holds a weight that is negative or no number.
    """
    store = Hierarchy.in_target(target)
    cutter, counts, balance, chunk = Cutter(0, WHOLE), [np.zeros(1, np.int64)], 0, WHOLE
    data = ArraySpec(f"{GRAPH}/data", (), (WHOLE,), np.dtype("<f4"))
    indices = ArraySpec(f"{GRAPH}/indices", (), (WHOLE,), np.dtype("<i4"))
    specs, first_row = (data, indices), 0
    for rows in _rows(neighbors, plan):
        _check(rows, key)
        balance += imbalance(rows, first_row)
        counts.append(np.diff(rows.indptr).astype(np.int64))
        first_row += rows.shape[0]
        for piece in cutter.add((rows.data.astype("<f4"), rows.indices.astype("<i4"))):
            for spec, values in zip(specs, piece.arrays, strict=True):
                store.put(spec.key(piece.start // WHOLE), spec.encode(values))
    if balance % 2**64:
        raise RequestError(
            f"The graph {key!r} is not symmetric: name another, or store (graph + graph.T) / 2."
        )
    indptr = np.cumsum(np.concatenate(counts))
    n_stored = int(indptr[-1])
    chunk = max(1, min(n_stored, WHOLE))
    specs = tuple(ArraySpec(each.path, (n_stored,), (chunk,), each.dtype) for each in specs)  # type: ignore[assignment]
    for piece in cutter.rest():
        for spec, values in zip(specs, piece.arrays, strict=True):
            store.put(spec.key(piece.start // chunk), spec.encode(values))
    for spec in specs:
        store.array(spec, {})
    dtype = "<i4" if n_stored < 2**31 else "<i8"
    store.values(ArraySpec.vector(f"{GRAPH}/indptr", len(indptr), dtype), indptr, {})
    store.group(GRAPH, encoding("csr_matrix", "0.1.0") | {"shape": list(neighbors.shape)})
    return StoredGraph(store.files, store.metadata)


def _rows(neighbors: Matrix, plan: EdgePlan) -> Iterator[sparse.csr_matrix]:
    """Read the matrix by blocks of whole rows, without its diagonal, sorted and without zeros.

    A symmetric matrix that is stored by columns is read by them: they are its rows.
    """
    from scipy import sparse  # noqa: PLC0415  slow to import

    by_column = len(plan.row_blocks) == 1 and neighbors.storage == "csc"
    array = neighbors.dask((plan.row_blocks, plan.column_blocks))
    lines = array.to_delayed().T if by_column else array.to_delayed()
    first = 0
    for line in lines:
        blocks = run_all(line, plan.n_workers)
        for block in blocks:
            if sparse.issparse(block) and block.format in ("csr", "csc"):
                check_indices(block)
        parts = [sparse.csr_matrix(each.T if by_column else each) for each in blocks]
        rows = parts[0] if len(parts) == 1 else sparse.hstack(parts, "csr")
        if rows.data.dtype.kind == "f" or rows.data.dtype.itemsize > 2:
            rows = rows.astype(np.float64)
        rows.sum_duplicates()
        coordinates = rows.tocoo()
        kept = (coordinates.data != 0) & (coordinates.row + first != coordinates.col)
        weights = as_float32(coordinates.data[kept])
        rows = sparse.csr_matrix(
            (weights, (coordinates.row[kept], coordinates.col[kept])), rows.shape
        )
        rows.eliminate_zeros()
        rows.sort_indices()
        first += rows.shape[0]
        yield rows


def _check(rows: sparse.csr_matrix, key: str) -> None:
    bad = ~np.isfinite(rows.data) | (rows.data < 0)
    if bad.any():
        raise RequestError(
            f"The graph {key!r} holds {np.count_nonzero(bad):,} weights that are negative or no "
            "numbers: name another, such as connectivities."
        )


def imbalance(rows: sparse.csr_matrix, first_row: int) -> int:
    """Return a number whose sum over all rows, modulo 2**64, is 0 if the matrix is symmetric.

    Each value adds one that depends on both cells and the weight: above the diagonal positive,
    below it negative. Unlike values cancel by chance once in 2**64.
    """
    row = np.repeat(np.arange(rows.shape[0], dtype=np.uint64), np.diff(rows.indptr))
    row += np.uint64(first_row)
    column = rows.indices.astype(np.uint64)
    weight = rows.data.astype("<f4").view(np.uint32).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = np.minimum(row, column) * _MIX[0] ^ np.maximum(row, column) * _MIX[1]
        mixed = (mixed ^ mixed >> np.uint64(29)) * _MIX[2] ^ weight * _MIX[0]
        mixed = (mixed ^ mixed >> np.uint64(32)) * _MIX[1]
        above: Array = row < column
        sums = (mixed[side].sum(dtype=np.uint64) for side in (above, ~above))
        return int(next(sums)) - int(next(sums))
