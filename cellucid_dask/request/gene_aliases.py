"""Other names of the genes: symbols, where the ids are Ensembl's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cellucid_dask.display import first_few
from cellucid_dask.errors import RequestError
from cellucid_dask.source.table import Table, readable_columns

_ENSEMBL = r"ENS[A-Z]*G\d{6,}(?:\.\d+)?"
# Columns that hold symbols by the conventions of cellxgene, Cell Ranger, scanpy and Ensembl.
_SYMBOL_COLUMNS = (
    "feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "symbols",
    "hgnc_symbol", "gene_short_name", "name",
)  # fmt: skip


@dataclass(frozen=True)
class GeneAliases:
    """Other names of the exported genes.

    Attributes
    ----------
    column
        The var column that they are from.
    names
        One per gene, in the order of the manifest; ``None`` for a gene without one.
    """

    column: str
    names: tuple[str | None, ...]


def find_aliases(
    var: Table, columns: np.ndarray[Any, Any], ids: tuple[str, ...], column: str | None
) -> GeneAliases | None:
    """Read the other names of the exported genes.

    Parameters
    ----------
    var
        One row per matrix column.
    columns
        int64, (n_genes,): matrix columns of the genes, in the order of the manifest.
    ids
        Their names in the manifest.
    column
        The var column of the other names; ``None`` looks for a column of symbols if most ids
        are Ensembl's.

    Raises
    ------
    RequestError
        There is no such column.
    """
    if column is None:
        if not is_ensembl(ids):
            return None
        by_name = {str(name).lower(): str(name) for name in var.columns}
        known = [by_name[name] for name in _SYMBOL_COLUMNS if name in by_name]
        found = readable_columns(var, known)
        column = next((name for name, values in found if not is_ensembl(values)), None)
        if column is None:
            return None
    elif column not in var.columns:
        raise RequestError(
            f"var has no column {column!r} for --gene-aliases; it has "
            f"{first_few(list(map(str, var.columns)), 20) or 'none'}."
        )
    values = var[column].iloc[columns]
    missing = values.isna().to_numpy()
    names = values.astype(str).tolist()
    return GeneAliases(
        column,
        tuple(
            None if absent or not name or name == gene else name
            for name, absent, gene in zip(names, missing, ids, strict=True)
        ),
    )


def is_ensembl(names: Sequence[str] | pd.Series[Any]) -> bool:
    """Whether most of some names are Ensembl ids."""
    matches = pd.Series(names, dtype=object).astype(str).str.fullmatch(_ENSEMBL)
    return bool(matches.mean() > 0.5) if len(matches) else False
