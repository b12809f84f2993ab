"""Genes of an export against the matrix they came from, in bounded memory.

Of a matrix stored by row, the genes' files are inflated in step with the rows, so that
neither a gene nor the matrix is ever held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from scipy import sparse

from cellucid_dask.display import first_few
from cellucid_dask.encode.quantize import MAX_CODE, as_float32
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.format.decode import DamageError, Stream, exact_values
from cellucid_dask.format.schema import Genes, Vector
from cellucid_dask.planning import split_by_cost
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

# Values of a source and a target that are compared at once.
_SLAB_VALUES = 2**20
# What an open file takes beside its bytes.
_STREAM_BYTES = 2**18
_SLACK = 1 + 1e-6  # of float64, on half a step


class Comparison:
    """Some genes of an export, against rows of the source as they come.

    Parameters
    ----------
    vectors
        The genes.
    files
        What their files hold, in the same order.
    """

    def __init__(self, vectors: Sequence[Vector], files: Sequence[bytes | Exception]) -> None:
        self._vectors = vectors
        self._streams: list[Stream | None] = [
            None if isinstance(data, Exception) else vector.stream(data)
            for vector, data in zip(vectors, files, strict=True)
        ]
        self._n_off = np.zeros(len(vectors), np.int64)
        self._worst = np.zeros(len(vectors))

    def feed(self, rows: Any) -> None:
        """Compare the next cells: (cells, genes), scipy sparse or dense."""
        step = max(_SLAB_VALUES // max(len(self._vectors), 1), 1)
        for start in range(0, rows.shape[0], step):
            part = rows[start : start + step]
            values = as_float32(part.toarray() if sparse.issparse(part) else np.asarray(part)).T
            for gene, expected in enumerate(values):
                self._compare(gene, expected)

    def _compare(self, gene: int, expected: Array) -> None:
        vector, stream = self._vectors[gene], self._streams[gene]
        if stream is None:
            return
        try:
            data = stream.read(len(expected) * np.dtype(vector.dtype).itemsize)
            stored = np.frombuffer(data, vector.dtype)
        except (DamageError, ValueError):
            stored = np.empty(0, vector.dtype)
        if len(stored) != len(expected):  # found when the file itself is checked
            self._streams[gene] = None
            return
        if vector.limits is None:
            same = (stored == expected) | (np.isnan(stored) & np.isnan(expected))
            self._n_off[gene] += len(same) - int(same.sum())
            return
        found = exact_values(stored, vector.limits)
        missing = np.isnan(found)
        finite = np.isfinite(expected)
        error = np.abs(found - np.where(finite, expected, np.nan))
        off = (missing == finite) | (error > half_step(vector) * _SLACK)
        self._n_off[gene] += int(off.sum())
        self._worst[gene] = max(self._worst[gene], error[finite & ~missing].max(initial=0))

    def findings(self) -> Iterator[str]:
        """Say which genes differ, one sentence a gene."""
        for vector, n_off, worst in zip(self._vectors, self._n_off, self._worst, strict=True):
            if n_off:
                text = f"{vector.path}: {n_off:,} values of {vector.key!r} are not the source's"
                if vector.limits is not None:
                    text += f" (off by up to {worst:.3g}; half a step is {half_step(vector):.3g})"
                yield text


def half_step(vector: Vector) -> float:
    """Return how far a decoded value may lie from its origin."""
    low, high = vector.limits or (0.0, 0.0)
    return (high - low) / MAX_CODE[8 * np.dtype(vector.dtype).itemsize] / 2


def compare_genes(
    target: Target,
    genes: Genes,
    chosen: Sequence[str],
    source: Source,
    settings: Settings,
    sizes: Mapping[str, int],
) -> Iterator[str]:
    """Compare genes of an export with their source and say where they differ.

    Parameters
    ----------
    target, genes
        The export.
    chosen
        Which genes to compare.
    source, settings
        The matrix: its layer, and the column that names its genes.
    sizes
        Of the genes' files, by path.

    Raises
    ------
    RequestError
        The source has no such layer, or none of the genes.
    """
    for group in _groups(genes, chosen, sizes, find_resources(settings.budget).memory // 4):
        request = resolve(source, replace(settings, gene_identifiers=group))
        if request.plan is None or request.genes is None:
            return
        vectors = [genes.vectors[gene] for gene in request.gene_ids.values()]
        columns = request.gene_columns
        if unknown := sorted(set(group) - set(request.genes.ids)):
            yield f"var: the source has no gene {first_few(unknown)} ({len(unknown):,} in all)"
        if request.plan.route == "direct":
            yield from _by_genes(target, request, columns, vectors)
        else:
            yield from _by_rows(target, request, columns, vectors)


def _groups(
    genes: Genes, chosen: Sequence[str], sizes: Mapping[str, int], most: int
) -> Iterator[tuple[str, ...]]:
    """Cut the genes into groups whose files fit into memory together."""
    vectors = [genes.vectors[gene] for gene in chosen]
    nbytes = np.array([sizes.get(each.path, each.most_bytes) for each in vectors], np.int64)
    for start, stop in split_by_cost(nbytes + _STREAM_BYTES, most):
        yield tuple(chosen[start:stop])


def _open(target: Target, vectors: Sequence[Vector]) -> Comparison:
    files = target.fetch({vector.path: vector.most_bytes for vector in vectors})
    return Comparison(vectors, [files[vector.path] for vector in vectors])


def compare_pieces(target: Target, pieces: Sequence[Any], vectors: Sequence[Vector]) -> list[str]:
    """Compare pieces that together hold every cell of their genes (task)."""
    comparison = _open(target, vectors)
    for piece in pieces:
        comparison.feed(piece)
    return list(comparison.findings())


def select(block: Any, columns: Array) -> Any:
    """Return some columns of a block (task)."""
    if not sparse.issparse(block):
        return np.asarray(block)[:, columns]
    known = block if block.format in ("csr", "csc") else block.tocsr()
    check_indices(known)
    return known[:, columns].tocsr()


def _by_genes(
    target: Target, request: Request, columns: Array, vectors: Sequence[Vector]
) -> Iterator[str]:
    pieces, ranges = _pieces(request, columns)
    tasks = [
        delayed(compare_pieces, pure=False)(target, [row[k] for row in pieces], vectors[range_])
        for k, range_ in enumerate(ranges)
    ]
    for findings in run_all(tasks, request.plan.n_workers if request.plan else 1):
        yield from findings


def _by_rows(
    target: Target, request: Request, columns: Array, vectors: Sequence[Vector]
) -> Iterator[str]:
    pieces, _ = _pieces(request, columns)
    comparison = _open(target, vectors)
    n_workers = request.plan.n_workers if request.plan else 1
    for start in range(0, len(pieces), 2 * n_workers):
        found = run_all(pieces[start : start + 2 * n_workers], n_workers)
        comparison.feed(_stacked([_beside(each) for each in found]))
    yield from comparison.findings()


def _beside(pieces: Sequence[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    return np.hstack([each.toarray() if sparse.issparse(each) else each for each in pieces])


def _stacked(pieces: Sequence[Any]) -> Any:
    if all(sparse.issparse(each) for each in pieces):
        return sparse.vstack(pieces, format="csr")
    return np.vstack([each.toarray() if sparse.issparse(each) else each for each in pieces])


def _pieces(request: Request, columns: Array) -> tuple[list[list[Delayed]], list[slice]]:
    """Chosen columns of the matrix by row and column block, and which those of a block are."""
    plan, matrix = request.plan, request.matrix
    if plan is None or matrix is None:
        raise ValueError("there is no matrix")
    array = matrix.dask((plan.row_blocks, plan.gene_blocks))
    edges = np.cumsum((0, *plan.gene_blocks))
    bounds = np.searchsorted(columns, edges)
    filled = np.flatnonzero(np.diff(bounds))
    ranges = [slice(int(bounds[j]), int(bounds[j + 1])) for j in filled]
    pieces = [
        [
            delayed(select, pure=False)(blocks[j], columns[range_] - edges[j])
            for j, range_ in zip(filled, ranges, strict=True)
        ]
        for blocks in array.to_delayed()
    ]
    return pieces, ranges
