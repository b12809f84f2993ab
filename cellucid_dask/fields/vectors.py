"""Vector fields: a displacement of every cell, drawn over an embedding."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellucid_dask.errors import RequestError
from cellucid_dask.format import names
from cellucid_dask.genes.quantise import as_float32

_EXPLICIT = re.compile(r"(.+)_([123])d")
_SHOWN = 5


@dataclass(frozen=True)
class VectorField:
    """One field over the embedding of one dimension, and the array of obsm that holds it."""

    field: str
    dimension: int
    key: str


def choose_vectors(
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


def scale_vectors(values: Any, scale: float, n_cells: int, name: str) -> npt.NDArray[np.float32]:
    """Bring displacements to the scale of the points they are drawn over.

    Parameters
    ----------
    values
        Real numbers, cells by dimensions.
    scale
        What the embedding was multiplied by.
    n_cells
        Rows that there must be.
    name
        What the field is called in an error.

    Returns
    -------
    numpy.ndarray
        float32, (n_cells, dimensions).

    Raises
    ------
    RequestError
        The values are not real, finite float32 numbers, one row a cell.
    """
    array = np.asarray(values)
    if array.shape[0] != n_cells:
        raise RequestError(
            f"Vector field {name!r} has {array.shape[0]:,} rows, but there are {n_cells:,} cells."
        )
    if array.dtype.kind not in "iuf":
        raise RequestError(f"Vector field {name!r} must hold real numbers, not {array.dtype}.")
    vectors = np.empty(array.shape, "<f4")
    for axis in range(array.shape[1]):  # in float64, an axis at a time: it is rounded once
        vectors[:, axis] = as_float32(array[:, axis].astype(np.float64) * scale)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        rows = np.flatnonzero(~finite)
        shown = ", ".join(str(row) for row in rows[:_SHOWN]) + (", ..." * (rows.size > _SHOWN))
        raise RequestError(
            f"Vector field {name!r} is not finite in {rows.size:,} cells (rows {shown}): set it "
            "to 0 there, or compute it again."
        )
    return vectors


def _list(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{key} ({width} columns)" for key, width in widths.items()) or "nothing"
