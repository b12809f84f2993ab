"""Which vector fields are drawn, over which embedding."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cellucid_dask.errors import RequestError
from cellucid_dask.format import names

_EXPLICIT = re.compile(r"(.+)_([123])d")


@dataclass(frozen=True)
class VectorField:
    """One field over the embedding of one dimension, and the array of obsm that holds it."""

    field: str
    dimension: int
    key: str


def choose_vector_fields(
    widths: Mapping[str, int], asked: Mapping[str, str], dimensions: Collection[int]
) -> tuple[list[VectorField], list[str]]:
    """Find what was asked for, one array a field and dimension.

    Parameters
    ----------
    widths
        Columns of every obsm array.
    asked
        obsm keys by name: ``velocity_umap_2d`` says its dimension and wins over
        ``velocity_umap``, of which the width of its array tells it.
    dimensions
        Of the embeddings that are exported.

    Returns
    -------
    tuple
        The fields, by name and dimension; and a warning for each without an embedding.

    Raises
    ------
    RequestError
        A key is unknown, a name unsafe, or a width not its dimension.
    """
    chosen: dict[tuple[str, int], VectorField] = {}
    for name, key in sorted(asked.items(), key=lambda item: _EXPLICIT.fullmatch(item[0]) is None):
        if key not in widths:
            raise RequestError(f"obsm has no vector field {key!r}; it has {_list(widths)}.")
        each = _parse(name, key, widths[key])
        chosen.setdefault((each.field, each.dimension), each)
    kept, warnings = [], []
    for place, each in sorted(chosen.items()):
        if each.dimension in dimensions:
            kept.append(each)
            continue
        shown = " and ".join(f"{dimension}D" for dimension in sorted(dimensions))
        warnings.append(
            f"Vector field {place[0]!r} is {each.dimension}D, but the embeddings are {shown}: "
            "it is left out. Add an embedding of that dimension with --embedding."
        )
    return kept, warnings


def _parse(name: str, key: str, width: int) -> VectorField:
    explicit = _EXPLICIT.fullmatch(name)
    field, dimension = (explicit[1], int(explicit[2])) if explicit else (name, width)
    if names.safe_name(field) != field:
        raise RequestError(
            f"Vector field {field!r} cannot name a file: call it {names.safe_name(field)!r}."
        )
    if width != dimension:
        raise RequestError(
            f"Vector field {name!r} has {width} columns, but its name says {dimension}D: "
            "rename one of them."
        )
    if not 1 <= dimension <= 3:
        raise RequestError(
            f"Vector field {name!r} has {width} columns: it must have 1, 2 or 3, like the "
            "embedding it is drawn over."
        )
    return VectorField(field, dimension, key)


def _list(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{key} ({width} columns)" for key, width in widths.items()) or "nothing"
