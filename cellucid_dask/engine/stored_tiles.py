"""Tiles in scratch: where each lies, and reading it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.encode.tiles import DensePart, Part, SparsePart
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.types import Array

_INDPTR = np.dtype("<u4")


@dataclass(frozen=True)
class StoredPart:
    """Where a part lies in scratch, and what it covers."""

    file: str
    offset: int
    first_cell: int
    n_cells: int
    first_gene: int
    n_genes: int
    nnz: int | None  # None: dense
    cell_dtype: str
    value_dtype: str

    @property
    def nbytes(self) -> int:
        """Size in scratch."""
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_genes * self.n_cells * item
        per_value = np.dtype(self.cell_dtype).itemsize + item
        return (self.n_genes + 1) * _INDPTR.itemsize + self.nnz * per_value

    def gene_nbytes(self, indptr: Array) -> Any:
        """Return the bytes of each gene's values, whose beginnings `indptr` tells if sparse."""
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_cells * item
        return np.diff(indptr) * (np.dtype(self.cell_dtype).itemsize + item)


def write_parts(
    scratch: Scratch, name: str, parts: Iterable[Part], first_gene: int
) -> list[StoredPart]:
    """Write the parts of one row block to one file and say where each lies."""
    stored: list[StoredPart] = []

    def arrays() -> Iterator[Array]:
        offset = 0
        for part in parts:
            stored.append(_describe(part, name, offset, first_gene))
            offset += stored[-1].nbytes
            yield from _arrays(part)

    scratch.write(name, arrays())
    return stored


def _describe(part: Part, file: str, offset: int, first_gene: int) -> StoredPart:
    sparse = isinstance(part, SparsePart)
    return StoredPart(
        file=file,
        offset=offset,
        first_cell=part.first_cell,
        n_cells=part.n_cells,
        first_gene=first_gene,
        n_genes=part.n_genes,
        nnz=len(part.values) if sparse else None,
        cell_dtype=part.cells.dtype.str if isinstance(part, SparsePart) else "<u2",
        value_dtype=part.values.dtype.str,
    )


def _arrays(part: Part) -> tuple[Array, ...]:
    if isinstance(part, SparsePart):
        return part.indptr.astype(_INDPTR), part.cells, np.ascontiguousarray(part.values)
    return (np.ascontiguousarray(part.values),)


def read_indptr(
    scratch: Scratch, parts: Sequence[StoredPart], start: int, stop: int
) -> list[Array]:
    """Where genes ``start ... stop`` begin in each sparse part (int64); empty for a dense one."""
    sparse = [part for part in parts if part.nnz is not None]
    ranges = []
    for part in sparse:
        at = part.offset + (start - part.first_gene) * _INDPTR.itemsize
        ranges.append((part.file, at, at + (stop - start + 1) * _INDPTR.itemsize))
    found = iter(scratch.read(ranges) if ranges else ())
    return [
        np.zeros(0, np.int64)
        if part.nnz is None
        else np.frombuffer(next(found), _INDPTR).astype(np.int64)
        for part in parts
    ]


def read_parts(
    scratch: Scratch, parts: Sequence[StoredPart], indptrs: Sequence[Array], start: int, stop: int
) -> list[Part]:
    """Read genes ``start ... stop - 1`` of every part; `indptrs` covers just these genes."""
    ranges = []
    for part, indptr in zip(parts, indptrs, strict=True):
        item = np.dtype(part.value_dtype).itemsize
        if part.nnz is None:
            at = part.offset + (start - part.first_gene) * part.n_cells * item
            ranges.append((part.file, at, at + (stop - start) * part.n_cells * item))
            continue
        width = np.dtype(part.cell_dtype).itemsize
        cells = part.offset + (part.n_genes + 1) * _INDPTR.itemsize
        values = cells + part.nnz * width
        first, last = int(indptr[0]), int(indptr[-1])
        ranges.append((part.file, cells + first * width, cells + last * width))
        ranges.append((part.file, values + first * item, values + last * item))
    found = iter(scratch.read(ranges))
    return [
        DensePart(
            part.first_cell,
            np.frombuffer(next(found), part.value_dtype).reshape(stop - start, part.n_cells),
        )
        if part.nnz is None
        else SparsePart(
            part.first_cell,
            part.n_cells,
            indptr - indptr[0],
            np.frombuffer(next(found), part.cell_dtype),
            np.frombuffer(next(found), part.value_dtype),
        )
        for part, indptr in zip(parts, indptrs, strict=True)
    ]
