"""The neighbor graph that is exported, and how it is cut."""

from __future__ import annotations

import numpy as np

from cellucid_dask.errors import RequestError
from cellucid_dask.planning.edges import EdgePlan, make_edge_plan
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.resources import Resources, find_resources
from cellucid_dask.source.base import Source
from cellucid_dask.source.matrix import Matrix
from cellucid_dask.store.location import Location


def open_neighbors(source: Source, settings: Settings) -> Matrix | None:
    """Open the graph that was asked for, if any."""
    key = settings.connectivities
    if key is None:
        return None
    known = source.obsp_keys
    neighbors = source.obsp(key) if key in known else None
    if neighbors is None:
        raise RequestError(f"obsp has no graph {key!r}; it has {', '.join(known) or 'nothing'}.")
    if neighbors.shape != (source.n_cells, source.n_cells):
        rows, columns = neighbors.shape
        raise RequestError(
            f"The graph {key!r} is {rows:,} x {columns:,}, but there are {source.n_cells:,} cells: "
            "it must be cells x cells."
        )
    if neighbors.dtype.kind not in "biuf":
        raise RequestError(
            f"The graph {key!r} holds {neighbors.dtype}, which is not a real number type."
        )
    return neighbors


def plan_edges(neighbors: Matrix, settings: Settings) -> EdgePlan:
    """Choose blocks and route of a graph."""
    resources = find_resources(settings.budget)
    return make_edge_plan(
        neighbors.layout(np.arange(0)),
        memory_budget=resources.memory,
        n_workers=resources.n_workers,
        shared_disk=is_scratch_shared(resources, settings.scratch),
    )


def is_scratch_shared(resources: Resources, scratch: str | None) -> bool:
    """Whether all workers reach the scratch: a store, or a folder that they all see."""
    if scratch is None:
        return resources.shares_disk(None)
    location = Location.of(scratch)
    return not location.is_local or resources.shares_disk(location.url)
