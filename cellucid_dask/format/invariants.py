"""What must hold for the arrays and documents of an export. No I/O."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from cellucid_dask.encode.quantize import MAX_CODE, MISSING_CODE
from cellucid_dask.format import names, schema
from cellucid_dask.types import Array, Json


def check_values(file: schema.File, chunks: Iterable[Array]) -> list[str]:
    """Check the values of one file.

    Parameters
    ----------
    file
        What the documents say of it.
    chunks
        Its values as stored, codes or numbers; all chunks are consumed.

    Returns
    -------
    list of str
        Violations, as predicates of the file's name.
    """
    match file:
        case schema.Points():
            bad = sum(int((~np.isfinite(each)).sum()) for each in chunks)
            return [f"has {bad:,} coordinates that are not finite"] if bad else []
        case schema.Codes():
            n_categories, missing = len(file.categories), file.missing
            bad = sum(int(((each >= n_categories) & (each != missing)).sum()) for each in chunks)
            return [f"has {bad:,} codes without a category"] if bad else []
        case schema.Vector(value_range=(lowest, highest)):
            return _check_range(chunks, lowest, highest, 8 * np.dtype(file.dtype).itemsize)
    for _ in chunks:  # any float32 is valid
        pass
    return []


def _check_range(chunks: Iterable[Array], lowest: float, highest: float, bits: int) -> list[str]:
    """Check that both ends of the range occur, since they are the extreme values."""
    n_lowest = n_highest = n_between = 0
    for codes in chunks:
        n_missing = int((codes == MISSING_CODE[bits]).sum())
        at_lowest, at_highest = int((codes == 0).sum()), int((codes == MAX_CODE[bits]).sum())
        n_lowest, n_highest = n_lowest + at_lowest, n_highest + at_highest
        n_between += len(codes) - n_missing - at_lowest - at_highest
    if lowest == highest:
        bad = n_highest + n_between
        return [f"has {bad:,} codes other than that of {lowest:g}, its only value"] if bad else []
    if n_lowest and n_highest:
        return []
    return [f"has no value at one end of its range, from {lowest:g} to {highest:g}"]


def check_edges(edges: schema.Edges, chunks: Iterable[tuple[Array, Array]]) -> Iterator[str]:
    """Check the edges of the neighbor graph.

    Parameters
    ----------
    edges
        What the documents say of them.
    chunks
        Lower and higher cells of the edges.

    Yields
    ------
    str
        Violations, as predicates of "the edges".
    """
    degree = np.zeros(edges.n_cells, np.int64)
    last = -1
    is_upward = is_rising = True
    for sources, destinations in chunks:
        if max(int(sources.max()), int(destinations.max())) >= edges.n_cells:
            yield "name cells that do not exist"
            return
        keys = sources.astype(np.int64) * edges.n_cells + destinations
        is_upward &= bool((sources < destinations).all())
        is_rising &= int(keys[0]) > last and bool((keys[1:] > keys[:-1]).all())
        last = int(keys[-1])
        degree += np.bincount(sources, minlength=edges.n_cells)
        degree += np.bincount(destinations, minlength=edges.n_cells)
    if not is_upward:
        yield "do not all go from a lower to a higher cell"
    if not is_rising:
        yield "are not sorted, or not unique"
    if int(degree.max(initial=0)) != edges.max_neighbors:
        yield f"give a cell {int(degree.max(initial=0)):,} neighbors, not {edges.max_neighbors:,}"


def check_identity(documents: schema.Documents) -> Iterator[str]:
    """Compare the identity of an export, which must exist, with its manifests.

    Yields
    ------
    str
        Violations, as predicates of the identity's name.
    """
    identity, genes, edges = documents.identity, documents.genes, documents.edges
    continuous = documents.columns.continuous if documents.columns else {}
    categorical = documents.columns.categorical if documents.columns else {}
    expected = {
        "n_genes": len(genes.vectors) if genes else 0,
        "n_obs_fields": len(continuous) + len(categorical),
        "n_categorical_fields": len(categorical),
        "n_continuous_fields": len(continuous),
        "has_connectivity": edges is not None,
        "n_edges": edges.n_edges if edges else None,
    }
    for key, value in expected.items():
        stated = identity["stats"].get(key)
        if stated != value:
            yield f"says {key} is {stated!r:.40}, the manifests say {value!r}"
    fields: list[Json] = [{"key": key, "kind": "continuous"} for key in continuous]
    fields += [
        {"key": key, "kind": "category", "n_categories": len(each.categories)}
        for key, each in categorical.items()
    ]
    listed = identity.get("obs_fields")
    if not isinstance(listed, list) or sorted(map(repr, listed)) != sorted(map(repr, fields)):
        yield f"lists other obs_fields than {names.OBS_MANIFEST}"
    bits = identity["export_settings"].get("var_quantization")
    if genes and bits != genes.bits:
        yield f"says var_quantization is {bits!r:.40}, {names.VAR_MANIFEST} says {genes.bits!r}"
    dimensions = identity.get("embeddings", {}).get("available_dimensions")
    if dimensions and identity["embeddings"].get("default_dimension") not in dimensions:
        yield "has a default_dimension that is not available"


def disagreements(documents: schema.Documents) -> Iterator[str]:
    """Report documents that are missing or contradict each other, one sentence each."""
    for one, other in itertools.permutations((names.IDENTITY, names.OBS_MANIFEST)):
        if one in documents.json and other not in documents.json:
            yield f"{other} is missing: the export is not complete"
    for attribute, value in (("n_cells", "cells"), ("level", "gzip level")):
        numbers = {name: getattr(part, attribute) for name, part in documents.parts.items()}
        if len(set(numbers.values())) > 1:
            shown = ", ".join(f"{number} in {name}" for name, number in numbers.items())
            yield f"documents differ in their {value}: {shown}"
    if not documents.damage and documents.identity:
        for violation in check_identity(documents):
            yield f"{names.IDENTITY} {violation}"
