"""Comparing genes of an export with the matrix they were made from, in bounded memory.

If the matrix is stored by row, the files of the genes are decompressed in step with the rows, so
that neither a gene nor the matrix is ever in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any
from uuid import uuid4

import numpy as np
from dask.delayed import Delayed, delayed
from scipy import sparse

from cellucid_dask.display import first_few
from cellucid_dask.encode.compressed import as_scipy
from cellucid_dask.encode.tiles import check_indices
from cellucid_dask.format.schema import Genes, Vector
from cellucid_dask.planning import ExportPlan, split_by_cost
from cellucid_dask.read.comparison import Comparison, Difference
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_STREAM_BYTES = 2**17  # memory of an open stream beside the bytes of its file
_COMPARING = "comparing genes with the source"
_NEARLY_ALL = 0.9  # of the genes
_SAMPLE_GENES = 64


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
    half = find_resources(settings.budget).memory // 2  # for files; the other for the source
    wanted = replace(settings, gene_identifiers=tuple(chosen), memory_budget=half)
    request = resolve(source, wanted)
    if request.plan is None or request.genes is None:
        return
    if unknown := sorted(set(chosen) - set(request.genes.ids)):
        yield f"var: the source has no gene {first_few(unknown)} ({len(unknown):,} in all)"
    compare = _by_genes if request.plan.route == "direct" else _by_rows
    vectors = [genes.vectors[gene] for gene in request.gene_ids.values()]
    costs = [sizes.get(each.path, each.max_bytes) + stream_bytes for each in vectors]
    found: list[Difference] = []
    for start, stop in split_by_cost(np.array(costs, np.int64), half):
        found += compare(target, request, request.gene_columns[start:stop], vectors[start:stop])
    if len(found) >= _NEARLY_ALL * len(vectors) and len(found) > 2:
        others = first_few([f"--layer={each}" for each in source.layers if each != settings.layer])
        yield f"{len(found):,} of {len(vectors):,} genes differ: {_reason(found, others)}"
    yield from (each.text for each in found)


def _reason(found: Sequence[Difference], others: str) -> str:
    """Return what is probably wrong if nearly all genes differ."""
    layers = f"name the right layer (the source has others: {others})" if others else "look for it"
    n_whole = sum(each.whole for each in found)
    n_source_whole = sum(each.source_whole for each in found)
    most = _NEARLY_ALL * len(found)
    if sum(each.same_range for each in found) >= most:
        return "each has the range of the source, so the cells are probably in another order there"
    if n_source_whole >= most > n_whole:
        return (
            f"the source holds whole numbers, such as raw counts, and the export does not: {layers}"
        )
    if n_whole >= most > n_source_whole:
        return (
            f"the export holds whole numbers, such as raw counts, and the source does not: {layers}"
        )
    return f"this is probably not what it was made of, but another version or layer: {layers}"


def compare_sample(target: Target, genes: Genes, request: Request) -> list[str]:
    """Compare some genes in the first block of cells with what a request would export."""
    rows, columns = sampled(request)
    vectors = [genes.vectors[request.gene_ids[column]] for column in columns.tolist()]
    comparison = _open(target, vectors)
    comparison.feed(rows)
    return [each.text for each in comparison.differences()]


def sampled(request: Request) -> tuple[Any, Array]:
    """Read some genes in the first block of cells; return the values and the matrix columns."""
    columns = request.gene_columns
    columns = columns[np.unique(np.linspace(0, len(columns) - 1, _SAMPLE_GENES, dtype=np.int64))]
    blocks, ranges = selected(request, columns)
    return run_all(blocks[0][:1])[0], columns[ranges[0]]


def _open(target: Target, vectors: Sequence[Vector]) -> Comparison:
    files = target.fetch({vector.path: vector.max_bytes for vector in vectors})
    return Comparison(vectors, [files[vector.path] for vector in vectors])


def compare_columns(
    target: Target, blocks: Sequence[Any], vectors: Sequence[Vector]
) -> list[Difference]:
    """Compare genes with the blocks that contain all their cells, in order (task)."""
    comparison = _open(target, vectors)
    for block in blocks:
        comparison.feed(block)
    return list(comparison.differences())


def select(source: Any, region: tuple[slice, slice] | None, columns: Array) -> Any:
    """Return some columns of a block, or of a region of a matrix (task)."""
    block = as_scipy(source if region is None else source.read(*region))
    if not sparse.issparse(block):
        return np.asarray(block)[:, columns]
    known = block if block.format in ("csr", "csc") else block.tocsr()
    check_indices(known)
    return (known if len(columns) == known.shape[1] else known[:, columns]).tocsr()


def _by_genes(
    target: Target, request: Request, columns: Array, vectors: Sequence[Vector]
) -> Iterator[Difference]:
    blocks, ranges = selected(request, columns)
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
) -> Iterator[Difference]:
    blocks, _ = selected(request, columns)
    comparison = _open(target, vectors)
    n_workers = request.plan.n_workers if request.plan else 1
    starts = range(0, len(blocks), 2 * n_workers)
    with follow(_COMPARING, len(starts), "blocks") as progress:
        for start in progress.count(starts):
            rows = run_all(blocks[start : start + 2 * n_workers], n_workers)
            comparison.feed(_stacked([side_by_side(row) for row in rows]))
    yield from comparison.differences()


def side_by_side(blocks: Sequence[Any]) -> Any:
    """Join blocks of the same cells."""
    if len(blocks) == 1:
        return blocks[0]
    return np.hstack([each.toarray() if sparse.issparse(each) else each for each in blocks])


def _stacked(blocks: Sequence[Any]) -> Any:
    if all(sparse.issparse(each) for each in blocks):
        return sparse.vstack(blocks, format="csr")
    return np.vstack([each.toarray() if sparse.issparse(each) else each for each in blocks])


def selected(request: Request, columns: Array) -> tuple[list[list[Delayed]], list[slice]]:
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
    edges = np.cumsum((0, *plan.gene_blocks))
    bounds = np.searchsorted(columns, edges)
    filled = np.flatnonzero(np.diff(bounds)).tolist()
    ranges = [slice(int(bounds[j]), int(bounds[j + 1])) for j in filled]
    blocks = _blocks(matrix, plan)
    chosen = [
        [
            delayed(select, pure=False)(*blocks(i, j), columns[range_] - edges[j])
            for j, range_ in zip(filled, ranges, strict=True)
        ]
        for i in range(len(plan.row_blocks))
    ]
    return chosen, ranges


def _blocks(matrix: Matrix, plan: ExportPlan) -> Callable[[int, int], tuple[Any, ...]]:
    """Return how `select` gets a block: as a Dask value, or as what can be read of the matrix."""
    sizes = plan.row_blocks, plan.gene_blocks
    if matrix.fixed_blocks is not None:
        array = matrix.dask(sizes).to_delayed()
        return lambda i, j: (array[i, j], None)
    shared = delayed(matrix.prepare(sizes), name=f"matrix-{uuid4().hex}", traverse=False)
    rows, genes = ([slice(*each) for each in pairwise(np.cumsum((0, *n)).tolist())] for n in sizes)
    return lambda i, j: (shared, (rows[i], genes[j]))
