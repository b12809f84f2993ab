"""How large an export and its scratch will be, from a few blocks of the matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellucid_dask.encode.tiles import Tile, tiles_of
from cellucid_dask.output import output_of
from cellucid_dask.planning import ExportPlan
from cellucid_dask.request.resolve import Request
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.types import Array

# Encoded for an estimate: more genes or blocks hardly change it.
_SAMPLE_GENES = 1000
_SAMPLE_BLOCKS = 6


def forecast_gene_bytes(request: Request) -> int:
    """Estimate the bytes of all gene files by encoding a sample.

    Gene blocks hold whole vectors, so their mean is enough. Row blocks are encoded as if
    they were all cells, and half of them too: that separates what is fixed in a file's size
    (headers, code tables) from what grows with the cells.
    """
    plan, matrix = request.plan, request.matrix
    if plan is None or matrix is None:
        return 0
    columns = request.gene_columns
    array = matrix.dask((plan.row_blocks, plan.gene_blocks))
    if plan.route == "direct":
        per_gene = _of_gene_blocks(request, plan, array, columns)
    else:
        per_gene = _of_row_blocks(request, plan, array, columns)
    return int(per_gene * len(columns))


def forecast_scratch_bytes(request: Request, plan: ExportPlan | None, columns: Array) -> int:
    """Estimate the bytes of all tiles: for a dense matrix, from the zeros in a few blocks."""
    matrix = request.matrix
    if plan is None or matrix is None:
        return 0
    if plan.route == "direct" or matrix.storage != "dense" or matrix.fixed_blocks is not None:
        return plan.scratch_bytes
    array = matrix.dask((plan.row_blocks, plan.gene_blocks))
    nbytes = rows = 0
    for row in _sample(len(plan.row_blocks), 3):
        (block,) = run_all([array.blocks[int(row)]])
        for tile in tiles_of(block, 0, columns, tile_values=plan.tile_values):
            nbytes += int(tile.gene_nbytes.sum())
        rows += plan.row_blocks[row]
    return min(nbytes * plan.shape[0] // rows, plan.scratch_bytes)


def forecast_edge_bytes(request: Request) -> int:
    """Estimate the bytes of the neighbor graph from a block in the middle."""
    neighbors, plan = request.neighbors, request.edge_plan
    if neighbors is None or plan is None:
        return 0
    i, j = len(plan.row_blocks) // 2, len(plan.column_blocks) // 2
    blocks = neighbors.dask((plan.row_blocks, plan.column_blocks)).blocks
    (block,) = run_all([blocks[i, j]])
    first = sum(plan.row_blocks[:i]), sum(plan.column_blocks[:j])
    nbytes = output_of(request.settings.format).edge_bytes(request, block, *first)
    return nbytes * len(plan.row_blocks) * len(plan.column_blocks)


def _sample(count: int, size: int = _SAMPLE_BLOCKS) -> Array:
    """Choose evenly spread positions among `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, size)).astype(int))


def _of_gene_blocks(request: Request, plan: ExportPlan, array: Any, columns: Array) -> float:
    edges = np.cumsum((0, *plan.gene_blocks))
    ranges = np.searchsorted(columns, edges)
    filled = np.flatnonzero(np.diff(ranges))
    sizes = []
    for block in filled[_sample(len(filled))]:
        chosen = columns[ranges[block] : ranges[block + 1]] - edges[block]
        chosen = chosen[:: -(-len(chosen) * _SAMPLE_BLOCKS // _SAMPLE_GENES)]
        tiles: list[Tile] = []
        for row, first_cell in enumerate(np.cumsum((0, *plan.row_blocks[:-1]))):
            (values,) = run_all([array.blocks[row, int(block)]])
            tiles += tiles_of(values, int(first_cell), chosen, tile_values=plan.tile_values)
        sizes += _sizes(request, tiles, plan.shape[0])
    return float(np.mean(sizes))


def _of_row_blocks(request: Request, plan: ExportPlan, array: Any, columns: Array) -> float:
    columns = columns[:: -(-len(columns) // _SAMPLE_GENES)]
    tiles: list[Tile] = []
    bounds = [0]
    for row in _sample(len(plan.row_blocks)):
        (block,) = run_all([array.blocks[int(row)]])
        tiles += tiles_of(block, bounds[-1], columns, tile_values=plan.tile_values)
        bounds.append(bounds[-1] + plan.row_blocks[row])
    middle, end = bounds[len(bounds) // 2], bounds[-1]
    half = _sizes(request, [tile for tile in tiles if tile.first_cell < middle], middle)
    whole = _sizes(request, tiles, end)
    growth = float(np.mean(whole) - np.mean(half)) / (end - middle)
    return float(np.mean(whole)) + growth * (plan.shape[0] - end)


def _sizes(request: Request, tiles: list[Tile], n_cells: int) -> list[int]:
    writer = output_of(request.settings.format).genes(request, request.gene_columns, None)
    return writer.sizes(tiles, n_cells)
