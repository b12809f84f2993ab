"""Comparing genes of an export with the matrix they were made from, in bounded memory.

If the matrix is stored by row, the files of the genes are decompressed in step with the rows, so
that neither a gene nor the matrix is ever in memory as a whole.
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
from cellucid_dask.format.decode import DamageError, Stream, dequantize
from cellucid_dask.format.schema import Genes, Vector
from cellucid_dask.planning import split_by_cost
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_STREAM_BYTES = 2**18  # memory of an open stream beside the bytes of its file
_COMPARING = "comparing genes with the source"
_SAMPLE_GENES = 64
_TOLERANCE = 1 + 1e-6  # rounding of float64, relative to half a step


class Comparison:
    """A running comparison of some genes with the rows of their source.

    Parameters
    ----------
    vectors
        The genes.
    files
        Contents of their files, or the errors with which they could not be read.
    slab_values
        Number of values that are compared at a time.
    """

    def __init__(
        self,
        vectors: Sequence[Vector],
        files: Sequence[bytes | Exception],
        slab_values: int = 2**20,
    ) -> None:
        self._vectors = vectors
        self._streams: list[Stream | None] = [
            None if isinstance(data, Exception) else Stream(data, vector.compressed)
            for vector, data in zip(vectors, files, strict=True)
        ]
        self._n_rows = max(slab_values // max(len(vectors), 1), 1)
        self._n_off = np.zeros(len(vectors), np.int64)
        self._max_error = np.zeros(len(vectors))

    def feed(self, rows: Any) -> None:
        """Compare the next cells.

        Parameters
        ----------
        rows
            (cells, genes), scipy sparse or dense.
        """
        for start in range(0, rows.shape[0], self._n_rows):
            slab = rows[start : start + self._n_rows]
            values = as_float32(slab.toarray() if sparse.issparse(slab) else np.asarray(slab)).T
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
        if len(stored) != len(expected):  # reported by the scan of the file itself
            self._streams[gene] = None
            return
        if vector.value_range is None:
            same = (stored == expected) | (np.isnan(stored) & np.isnan(expected))
            self._n_off[gene] += len(same) - int(same.sum())
            return
        decoded = dequantize(stored, vector.value_range)
        missing = np.isnan(decoded)
        finite = np.isfinite(expected)
        error = np.abs(decoded - np.where(finite, expected, np.nan))
        off = (missing == finite) | (error > half_step(vector) * _TOLERANCE)
        self._n_off[gene] += int(off.sum())
        self._max_error[gene] = max(self._max_error[gene], error[finite & ~missing].max(initial=0))

    def findings(self) -> Iterator[str]:
        """Report the genes that differ, one sentence each."""
        results = zip(self._vectors, self._n_off, self._max_error, strict=True)
        for vector, n_off, max_error in results:
            if n_off:
                text = f"{vector.path}: {n_off:,} values of {vector.key!r} are not the source's"
                if vector.value_range is not None:
                    text += (
                        f" (off by up to {max_error:.3g}; half a step is {half_step(vector):.3g})"
                    )
                yield text


def half_step(vector: Vector) -> float:
    """Return the largest error that quantization can cause."""
    lowest, highest = vector.value_range or (0.0, 0.0)
    return (highest - lowest) / MAX_CODE[8 * np.dtype(vector.dtype).itemsize] / 2


def compare_genes(
    target: Target,
    genes: Genes,
    chosen: Sequence[str],
    source: Source,
    settings: Settings,
    sizes: Mapping[str, int],
    *,
    stream_bytes: int = _STREAM_BYTES,
) -> Iterator[str]:
    """Compare genes of an export with their source and report where they differ.

    Parameters
    ----------
    target, genes
        The export.
    chosen
        Names of the genes to compare.
    source, settings
        The matrix, its layer, and the column of its gene names.
    sizes
        Sizes of the genes' files in bytes, by path, as far as they are known.
    stream_bytes
        Memory that a gene takes beside the bytes of its file.

    Yields
    ------
    str
        One sentence per gene that differs, or for all that the source does not have.

    Raises
    ------
    RequestError
        The source has no such layer, or none of the genes.
    """
    max_bytes = find_resources(settings.budget).memory // 4
    costs = [
        sizes.get(genes.vectors[gene].path, genes.vectors[gene].max_bytes) + stream_bytes
        for gene in chosen
    ]
    for start, stop in split_by_cost(np.array(costs, np.int64), max_bytes):
        group = tuple(chosen[start:stop])
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


def compare_sample(target: Target, genes: Genes, request: Request) -> list[str]:
    """Compare some genes in the first block of cells with what a request would export."""
    columns = request.gene_columns
    columns = columns[np.unique(np.linspace(0, len(columns) - 1, _SAMPLE_GENES, dtype=np.int64))]
    blocks, ranges = _selected(request, columns)
    vectors = [genes.vectors[request.gene_ids[column]] for column in columns[ranges[0]].tolist()]
    comparison = _open(target, vectors)
    comparison.feed(run_all(blocks[0][:1])[0])
    return list(comparison.findings())


def _open(target: Target, vectors: Sequence[Vector]) -> Comparison:
    files = target.fetch({vector.path: vector.max_bytes for vector in vectors})
    return Comparison(vectors, [files[vector.path] for vector in vectors])


def compare_columns(target: Target, blocks: Sequence[Any], vectors: Sequence[Vector]) -> list[str]:
    """Compare genes with the blocks that contain all their cells, in order (task)."""
    comparison = _open(target, vectors)
    for block in blocks:
        comparison.feed(block)
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
    blocks, ranges = _selected(request, columns)
    tasks = [
        delayed(compare_columns, pure=False)(target, [row[k] for row in blocks], vectors[range_])
        for k, range_ in enumerate(ranges)
    ]
    with follow(_COMPARING, len(tasks), "blocks") as progress:
        found = run_all(tasks, request.plan.n_workers if request.plan else 1, progress)
    for findings in found:
        yield from findings


def _by_rows(
    target: Target, request: Request, columns: Array, vectors: Sequence[Vector]
) -> Iterator[str]:
    blocks, _ = _selected(request, columns)
    comparison = _open(target, vectors)
    n_workers = request.plan.n_workers if request.plan else 1
    starts = range(0, len(blocks), 2 * n_workers)
    with follow(_COMPARING, len(starts), "blocks") as progress:
        for start in progress.count(starts):
            rows = run_all(blocks[start : start + 2 * n_workers], n_workers)
            comparison.feed(_stacked([_side_by_side(row) for row in rows]))
    yield from comparison.findings()


def _side_by_side(blocks: Sequence[Any]) -> Any:
    if len(blocks) == 1:
        return blocks[0]
    return np.hstack([each.toarray() if sparse.issparse(each) else each for each in blocks])


def _stacked(blocks: Sequence[Any]) -> Any:
    if all(sparse.issparse(each) for each in blocks):
        return sparse.vstack(blocks, format="csr")
    return np.vstack([each.toarray() if sparse.issparse(each) else each for each in blocks])


def _selected(request: Request, columns: Array) -> tuple[list[list[Delayed]], list[slice]]:
    """Select columns of the matrix.

    Returns
    -------
    blocks
        By row block, then by column block; column blocks without a selected column left out.
    ranges
        Slices of `columns` that the column blocks contain.
    """
    plan, matrix = request.plan, request.matrix
    if plan is None or matrix is None:
        raise ValueError("there is no matrix")
    array = matrix.dask((plan.row_blocks, plan.gene_blocks))
    edges = np.cumsum((0, *plan.gene_blocks))
    bounds = np.searchsorted(columns, edges)
    filled = np.flatnonzero(np.diff(bounds))
    ranges = [slice(int(bounds[j]), int(bounds[j + 1])) for j in filled]
    selected = [
        [
            delayed(select, pure=False)(blocks[j], columns[range_] - edges[j])
            for j, range_ in zip(filled, ranges, strict=True)
        ]
        for blocks in array.to_delayed()
    ]
    return selected, ranges
