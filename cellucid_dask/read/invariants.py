"""What is wrong with the arrays and documents of an export; pure, and without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from cellucid_dask.encode.quantize import MAX_CODE, MISSING_CODE
from cellucid_dask.format import names, schema
from cellucid_dask.types import Array, Json


def of_values(file: schema.File, pieces: Iterable[Array]) -> list[str]:
    """Say what is wrong with the values of one file, as the rest of a sentence.

    Parameters
    ----------
    file
        What the documents say of it.
    pieces
        What it stores, codes or numbers, some at a time; all of it is taken.
    """
    match file:
        case schema.Points():
            bad = sum(int((~np.isfinite(each)).sum()) for each in pieces)
            return [f"has {bad:,} coordinates that are not finite"] if bad else []
        case schema.Codes():
            most, missing = len(file.categories), file.missing
            bad = sum(int(((each >= most) & (each != missing)).sum()) for each in pieces)
            return [f"has {bad:,} codes that stand for no category"] if bad else []
        case schema.Vector(limits=(low, high)):
            return _of_codes(pieces, low, high, 8 * np.dtype(file.dtype).itemsize)
    for _ in pieces:  # any float32 will do
        pass
    return []


def _of_codes(pieces: Iterable[Array], low: float, high: float, bits: int) -> list[str]:
    """Both ends of the range must occur, because that is how it was found."""
    n_lowest = n_highest = n_between = 0
    for codes in pieces:
        n_missing = int((codes == MISSING_CODE[bits]).sum())
        lowest, highest = int((codes == 0).sum()), int((codes == MAX_CODE[bits]).sum())
        n_lowest, n_highest = n_lowest + lowest, n_highest + highest
        n_between += len(codes) - n_missing - lowest - highest
    if low == high:
        bad = n_highest + n_between
        return [f"has {bad:,} codes other than that of {low:g}, its only value"] if bad else []
    if n_lowest and n_highest:
        return []
    return [f"has no value at one end of its range, from {low:g} to {high:g}"]


def of_edges(edges: schema.Edges, pieces: Iterable[tuple[Array, Array]]) -> Iterator[str]:
    """Say what is wrong with the edges, as the rest of a sentence.

    Parameters
    ----------
    edges
        What the documents say of them.
    pieces
        Lower and higher cells of the edges, some edges at a time.
    """
    degree = np.zeros(edges.n_cells, np.int64)
    last = -1
    upward = rising = True
    for sources, destinations in pieces:
        if max(int(sources.max()), int(destinations.max())) >= edges.n_cells:
            yield "name cells that do not exist"
            return
        order = sources.astype(np.int64) * edges.n_cells + destinations
        upward = upward and bool((sources < destinations).all())
        rising = rising and int(order[0]) > last and bool((order[1:] > order[:-1]).all())
        last = int(order[-1])
        degree += np.bincount(sources, minlength=edges.n_cells)
        degree += np.bincount(destinations, minlength=edges.n_cells)
    if not upward:
        yield "do not all go from a lower to a higher cell"
    if not rising:
        yield "are not sorted, or not unique"
    if int(degree.max(initial=0)) != edges.max_neighbors:
        yield f"give a cell {int(degree.max(initial=0)):,} neighbors, not {edges.max_neighbors:,}"


def of_identity(
    identity: Json,
    columns: schema.Columns | None,
    genes: schema.Genes | None,
    edges: schema.Edges | None,
) -> Iterator[str]:
    """Say where the identity differs from the manifests, as the rest of a sentence."""
    continuous = columns.continuous if columns else {}
    categorical = columns.categorical if columns else {}
    counts = {
        "n_genes": len(genes.vectors) if genes else 0,
        "n_obs_fields": len(continuous) + len(categorical),
        "n_categorical_fields": len(categorical),
        "n_continuous_fields": len(continuous),
        "has_connectivity": edges is not None,
        "n_edges": edges.n_edges if edges else None,
    }
    for key, value in counts.items():
        told = identity["stats"].get(key)
        if told != value:
            yield f"says {key} is {told!r:.40}, the manifests say {value!r}"
    fields: list[Json] = [{"key": key, "kind": "continuous"} for key in continuous]
    fields += [
        {"key": key, "kind": "category", "n_categories": len(each.categories)}
        for key, each in categorical.items()
    ]
    told = identity.get("obs_fields")
    if not isinstance(told, list) or sorted(map(repr, told)) != sorted(map(repr, fields)):
        yield f"lists other obs_fields than {names.OBS_MANIFEST}"
    bits = identity["export_settings"].get("var_quantization")
    if genes and bits != genes.bits:
        yield f"says var_quantization is {bits!r:.40}, {names.VAR_MANIFEST} says {genes.bits!r}"
    dimensions = identity.get("embeddings", {}).get("available_dimensions")
    if dimensions and identity["embeddings"].get("default_dimension") not in dimensions:
        yield "has a default_dimension that is not available"
