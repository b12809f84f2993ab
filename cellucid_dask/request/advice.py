"""What the author of an export should know of its source before the work starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from cellucid_dask.display import first_few
from cellucid_dask.encode.compressed import is_sparse
from cellucid_dask.encode.normalize import are_whole
from cellucid_dask.request.gene_aliases import is_ensembl
from cellucid_dask.request.resolve import Request
from cellucid_dask.source.matrix import DenseMatrix, Matrix, SparseMatrix
from cellucid_dask.types import Array

_SAMPLE_VALUES = 200_000  # of a dense matrix; sparse ones have fewer
# Columns of obs that may name a person, or lead to one.
_OF_PEOPLE = re.compile(
    r"(?:(?:first|last|full|family|given|patient|donor|subject|participant|person)[ _.-]?name"
    r"|(?:sur|fore)name|e[ _.-]?mail|phone|address|post[ _.-]?code|zip[ _.-]?code|mrn|ssn"
    r"|medical[ _.-]?record.*|nhs[ _.-]?n\w*|dob|birth[ _.-]?(?:day|date)"
    r"|date[ _.-]?of[ _.-]?birth)",
    re.IGNORECASE,
)


def advise(request: Request) -> Iterator[str]:
    """Say what is probably not what its author wants, one sentence or two each."""
    settings = request.settings
    if people := [key for key in request.obs_keys if _OF_PEOPLE.fullmatch(key)]:
        yield (
            f"obs columns {first_few(people)} look like names of people, or what identifies them: "
            "choose columns with --obs-keys, if others will see the export."
        )
    if request.genes is None or request.matrix is None:
        return
    if settings.var_gene_id_column == "index" and is_ensembl(request.genes.ids):
        if (aliases := request.genes.aliases) is not None:
            yield (
                f"The genes are named by Ensembl ids, and found by their names in {aliases.column} "
                f"too: to name them so, pass --var-gene-id-column={aliases.column}."
            )
        else:
            yield (
                "The genes are named by Ensembl ids, and no column of var is known to hold their "
                "symbols: name one with --gene-aliases."
            )
    if settings.normalize is None and _looks_raw(request.matrix):
        yield raw_counts(settings.layer)
    empty = _empty_columns(request.matrix)
    if n_empty := int(empty[request.gene_columns].sum()) if empty is not None else 0:
        yield (
            f"{n_empty:,} of {len(request.gene_ids):,} genes have no value in any cell: to leave "
            "them out, mark the others in a var column and pass --genes-from."
        )


def raw_counts(layer: str) -> str:
    """Say that a layer should be normalized."""
    return (
        f"{layer} looks like raw counts: consider exporting a normalized layer, or "
        "pass --normalize log1p-cp10k, to show expression rather than sequencing depth."
    )


def _looks_raw(matrix: Matrix) -> bool:
    """Whether a few rows or columns hold counts; False where that would take a computation."""
    if matrix.fixed_blocks is not None:
        return False
    cells, genes = matrix.shape
    by_column = matrix.storage == "csc"
    n_lines = max(_SAMPLE_VALUES // max(cells if by_column else genes, 1), 1)
    rows = slice(0, cells if by_column else min(n_lines, cells))
    columns = slice(0, min(n_lines, genes) if by_column else genes)
    block: Any = matrix.read(rows, columns)
    values = block.data if is_sparse(block) else block
    return are_whole(block) and values.min(initial=0) >= 0 and values.max(initial=0) > 1


def _empty_columns(matrix: Matrix) -> Array | None:
    """Tell which columns have no value, if that is known without reading the matrix."""
    match matrix:
        case SparseMatrix(storage="csc"):
            return np.equal(np.diff(matrix.pointers()), 0)
        case SparseMatrix(indices=np.ndarray() as indices):
            return np.equal(np.bincount(indices, minlength=matrix.shape[1]), 0)
        case DenseMatrix(array=np.ndarray() as array):
            return np.logical_not(array.any(axis=0))
    return None
