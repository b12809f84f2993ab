"""Comparing an export in the format cellucid-zarr with its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.display import first_few
from cellucid_dask.encode.quantize import as_float32
from cellucid_dask.errors import ExportError
from cellucid_dask.output.cellucid_zarr.store import StoredExport
from cellucid_dask.output.cellucid_zarr.tables import as_stored
from cellucid_dask.planning import split_by_cost
from cellucid_dask.read.compare import sampled, selected, side_by_side
from cellucid_dask.read.zarr_graph import graph_differences
from cellucid_dask.request.resolve import Request, resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.source.reading import UnreadableError
from cellucid_dask.types import Array

_VALUE_BYTES = 16  # of a value of a gene that is compared
_BLOCK_ROWS = 2**17


def differences(
    stored: StoredExport,
    source: Source,
    genes: Sequence[str],
    layer: str | None,
    memory_budget: int | str | None,
) -> Iterator[str]:
    """Compare cell metadata, embeddings and some genes with the source; report what differs."""
    mine = stored.source
    if source.n_cells != mine.n_cells:
        yield f"the source has {source.n_cells:,} cells, the export {mine.n_cells:,}"
        return
    for key in mine.obs_keys:
        try:
            same = key in source.obs_keys and _same(as_stored(source.obs(key)), stored.column(key))
        except (UnreadableError, ExportError):
            same = False
        if not same:
            yield f"obs/{key} does not match the source"
    for key in mine.obsm_widths:
        if key not in source.obsm_widths or not _same_rows(source.obsm(key), mine.obsm(key)):
            yield f"obsm/{key} does not match the source"
    settings = Settings(
        layer=layer or str(stored.made_of.get("layer", "X")),
        memory_budget=memory_budget,
        format="cellucid-zarr",
        genes_only=True,
        make_genes_unique=True,  # ids that are unique already stay as they are
        skip_missing_genes=True,
        var_gene_id_column=stored.gene_column,
        normalize=stored.made_of.get("normalize"),
    )
    yield from graph_differences(stored, source, settings)
    yield from _compare_genes(stored, source, genes, settings)


def _same(made: Any, column: Any) -> bool:
    """Compare a column as it would be stored with the one that is."""
    if isinstance(made, np.ndarray) and made.dtype.kind == "f":
        made = np.where(np.isinf(made), np.nan, made)
    expected, found = pd.Series(made), pd.Series(getattr(column, "array", column))
    if isinstance(made, pd.Categorical) and isinstance(found.dtype, pd.CategoricalDtype):
        expected, found = expected.astype(object), found.astype(object)
    return len(expected) == len(found) and expected.reset_index(drop=True).equals(
        found.reset_index(drop=True)
    )


def _same_rows(expected: Any, found: Any) -> bool:
    if tuple(expected.shape) != tuple(found.shape):
        return False
    for start in range(0, found.shape[0], _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, found.shape[0]))
        if not np.array_equal(as_float32(np.asarray(expected[rows])), np.asarray(found[rows])):
            return False
    return True


def _compare_genes(
    stored: StoredExport, source: Source, genes: Sequence[str], settings: Settings
) -> Iterator[str]:
    if not genes:
        return
    columns = np.array([stored.genes[name] for name in genes])
    n_stored = np.full(len(stored.genes), source.n_cells, np.int64)
    if (indptr := stored.matrix.layout(np.arange(0)).indptr) is not None:
        n_stored = np.diff(indptr)
    max_values = find_resources(settings.budget).memory // 4 // _VALUE_BYTES
    for start, stop in split_by_cost(n_stored[columns], max_values):
        group = tuple(genes[start:stop])
        request = resolve(source, replace(settings, gene_identifiers=group))
        if request.plan is None or request.genes is None:
            return
        if unknown := sorted(set(group) - set(request.genes.ids)):
            yield f"var: the source has no gene {first_few(unknown)} ({len(unknown):,} in all)"
        names = list(request.gene_ids.values())
        found = _genes(stored, names)
        n_off, at = np.zeros(len(names), np.int64), 0
        blocks, _ = selected(request, request.gene_columns)
        with follow("comparing genes", len(blocks), "blocks") as progress:
            for line in progress.count(blocks):
                rows = side_by_side(run_all(line, request.plan.n_workers))
                part = found[at : at + rows.shape[0]]
                at += rows.shape[0]
                n_off += _unlike(rows, part)
        yield from _sentences(names, n_off)


def compare_sample(stored: StoredExport, request: Request) -> Iterator[str]:
    """Compare some genes in the first block of cells with what a request would export."""
    if ("X" in stored.source.layers) != (request.genes is not None):
        yield "the genes are others"
    if request.genes is None:
        return
    rows, columns = sampled(request)
    names = [request.gene_ids[column] for column in columns.tolist()]
    yield from _sentences(names, _unlike(rows, _genes(stored, names)[: rows.shape[0]]))


def _genes(stored: StoredExport, names: Sequence[str]) -> sparse.csr_matrix:
    """Read genes of an export, of which one at a time is dense."""
    parts = [sparse.csc_matrix(stored.gene(stored.genes[name])[:, None]) for name in names]
    return sparse.hstack(parts, "csr")


def _sentences(names: Sequence[str], n_off: Array) -> Iterator[str]:
    for name, count in zip(names, n_off.tolist(), strict=True):
        if count:
            yield f"X: {count:,} values of {name!r} do not match the source"


def _unlike(rows: Any, part: sparse.csr_matrix) -> Array:
    """Count, by column, values that differ in the dtype of the export."""
    values = sparse.csr_matrix(rows).astype(part.dtype)
    unlike = sparse.csc_matrix(values != part)
    unlike.eliminate_zeros()
    counts: Array = np.diff(unlike.indptr).astype(np.int64)
    return counts
