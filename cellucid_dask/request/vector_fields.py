"""Which vector fields are drawn, over which embedding."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cellucid_dask.errors import RequestError
from cellucid_dask.format import names
from cellucid_dask.request.embeddings import listed

_EXPLICIT = re.compile(r"(.+)_([123])d")


@dataclass(frozen=True)
class VectorField:
    """A field over the embedding of one dimension; `key` is its array in obsm."""

    field: str
    dimension: int
    key: str


def choose_vector_fields(
    widths: Mapping[str, int], asked: Mapping[str, str], dimensions: Collection[int]
) -> tuple[list[VectorField], list[str]]:
    """Choose one obsm array for each requested field and dimension.

    Parameters
    ----------
    widths
        Number of columns of every obsm array.
    asked
        obsm keys by name. ``velocity_umap_2d`` gives the dimension, and wins over
        ``velocity_umap``, whose dimension is the width of its array.
    dimensions
        Dimensions of the exported embeddings.

    Returns
    -------
    tuple
        The fields, sorted by name and dimension, and a warning for each field whose dimension
        has no embedding.

    Raises
    ------
    RequestError
        A key is unknown, a name is not safe as a file name, or a width contradicts a name.
    """
    chosen: dict[tuple[str, int], VectorField] = {}
    for name, key in sorted(asked.items(), key=lambda item: _EXPLICIT.fullmatch(item[0]) is None):
        if key not in widths:
            raise RequestError(f"obsm has no vector field {key!r}; it has {listed(widths)}.")
        each = _parse(name, key, widths[key])
        chosen.setdefault((each.field, each.dimension), each)
    kept, warnings = [], []
    for _, each in sorted(chosen.items()):
        if each.dimension in dimensions:
            kept.append(each)
            continue
        shown = " and ".join(f"{dimension}D" for dimension in sorted(dimensions))
        warnings.append(
            f"Vector field {each.field!r} is {each.dimension}D, but the embeddings are {shown}: "
            "it is skipped. Add an embedding of that dimension with --embedding."
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
