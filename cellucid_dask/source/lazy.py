"""A matrix that can be read by regions, as a Dask array of blocks."""

from __future__ import annotations

import itertools
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from scipy import sparse

from cellucid_dask.encode.compressed import as_scipy
from cellucid_dask.runtime.supervise import final
from cellucid_dask.types import Sizes


def lazy_array(matrix: Any, blocks: tuple[Sizes, Sizes]) -> da.Array:
    """Return the Dask array whose block (i, j) is ``matrix.read`` of its region."""
    name = "matrix-" + tokenize(id(matrix), blocks)
    source = f"source-{name}"
    graph: dict[Any, Any] = {source: matrix}
    for i, rows in enumerate(_slices(blocks[0])):
        for j, columns in enumerate(_slices(blocks[1])):
            graph[name, i, j] = (_read, source, rows, columns)
    layer = HighLevelGraph.from_collections(name, graph)
    kinds = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.empty}
    return da.Array(layer, name, blocks, meta=kinds[matrix.storage]((0, 0), dtype=matrix.dtype))


@final
def _read(matrix: Any, rows: slice, columns: slice) -> Any:
    return as_scipy(matrix.read(rows, columns))


def _slices(sizes: Sizes) -> list[slice]:
    """Return the slice of each block along an axis."""
    return [slice(*bounds) for bounds in itertools.pairwise(np.cumsum((0, *sizes)).tolist())]
