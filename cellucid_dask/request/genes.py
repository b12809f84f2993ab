"""Selection of the genes to export, their names and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cellucid_dask.display import abbreviated, first_few
from cellucid_dask.errors import RequestError
from cellucid_dask.format import names
from cellucid_dask.request.gene_aliases import GeneAliases, find_aliases
from cellucid_dask.request.pieces import rejoined
from cellucid_dask.request.settings import Settings
from cellucid_dask.source.table import Table, readable_columns


@dataclass(frozen=True)
class GeneSelection:
    """The genes of an export.

    Attributes
    ----------
    ids
        Names of the genes, in the order of the manifest.
    columns
        int64, (n_genes,): matrix columns of the genes, in the same order.
    warnings
        Messages for the user.
    aliases
        Other names of the genes.
    """

    ids: tuple[str, ...]
    columns: np.ndarray[Any, np.dtype[np.int64]]
    warnings: tuple[str, ...] = ()
    aliases: GeneAliases | None = None


def select_genes(var: Table, settings: Settings) -> GeneSelection:
    """Select genes as the settings request.

    Parameters
    ----------
    var
        One row per matrix column.
    settings
        Of them `var_gene_id_column`, `make_genes_unique`, `shorten_gene_names`, `genes_from`,
        `gene_identifiers`, `skip_missing_genes` and `gene_aliases`.

    Raises
    ------
    RequestError
        Unknown column or genes, duplicate ids, or ids that would share a file.
    """
    ids = _ids(var, settings.var_gene_id_column)
    if settings.make_genes_unique and not ids.is_unique:
        from anndata.utils import make_index_unique  # noqa: PLC0415  slow to import

        ids = pd.Index(make_index_unique(ids))
    if settings.shorten_gene_names:
        ids = ids.map(names.shortened)
    warnings: list[str] = []
    if settings.genes_from is not None:
        columns = _from_column(var, settings.genes_from)
    elif settings.gene_identifiers is not None:
        columns = _by_name(var, ids, settings, warnings)
    else:
        columns = np.arange(len(ids))
    chosen = tuple(ids[columns])
    _check_unique(chosen, settings.var_gene_id_column)
    if settings.one_file_each:
        _check_files(chosen, settings, warnings)
    aliases = find_aliases(var, columns, chosen, settings.gene_aliases)
    return GeneSelection(chosen, columns.astype(np.int64), tuple(warnings), aliases)


def _ids(var: Table, column: str) -> pd.Index[Any]:
    if column == "index":
        values = var.index
    elif column in var.columns:
        values = pd.Index(var[column])
    else:
        known = first_few(list(var.columns), 20) or "none"
        raise RequestError(
            f"var has no column {column!r}: choose 'index' or one of its columns ({known})."
        )
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise RequestError(
            f"{len(missing)} genes have no id in var column {column!r} (first: row {missing[0]}): "
            "choose another column with --var-gene-id-column."
        )
    return values.astype(str)


def _from_column(var: Table, column: str) -> np.ndarray[Any, Any]:
    if column not in var.columns:
        marks = readable_columns(var, var.columns)
        known = ", ".join(name for name, values in marks if values.dtype == bool) or "none"
        raise RequestError(f"var has no column {column!r}; its boolean columns: {known}.")
    chosen = var[column]
    if not pd.api.types.is_bool_dtype(chosen.dtype):
        raise RequestError(f"var column {column!r} is {chosen.dtype}: it must be true or false.")
    columns = np.flatnonzero(chosen.fillna(value=False).to_numpy(dtype=bool))
    if not len(columns):
        raise RequestError(f"var column {column!r} selects no gene.")
    return columns


def _by_name(
    var: Table, ids: pd.Index[Any], settings: Settings, warnings: list[str]
) -> np.ndarray[Any, Any]:
    wanted = rejoined(settings.gene_identifiers or (), frozenset(ids))
    is_wanted = ids.isin(wanted)
    known = ids[is_wanted]
    _check_unique(tuple(known), settings.var_gene_id_column)
    positions = dict(zip(known, np.flatnonzero(is_wanted), strict=True))
    unknown = [gene for gene in wanted if gene not in positions]
    if unknown:
        text = (
            f"{len(unknown)} of {len(wanted)} genes are not in var "
            f"{settings.var_gene_id_column}: {first_few(unknown)}."
        )
        if not settings.skip_missing_genes or len(unknown) == len(wanted):
            raise RequestError(
                f"{text} {_where_else(var, ids, unknown, settings.var_gene_id_column)}, "
                "or pass --skip-missing-genes."
            )
        warnings.append(f"{text} They are skipped.")
    return np.array([positions[gene] for gene in wanted if gene in positions], dtype=np.int64)


def _check_files(chosen: Sequence[str], settings: Settings, warnings: list[str]) -> None:
    """Refuse genes that would share a file, or have none."""
    if collisions := names.collisions(chosen):
        listed = first_few([f"{one!r} and {two!r} (both {name})" for one, two, name in collisions])
        raise RequestError(
            f"{len(collisions)} gene ids would share a file name: {listed}. Rename them, or choose "
            "another column with --var-gene-id-column."
        )
    _check_lengths(chosen, settings)
    if similar := names.case_collisions(chosen):
        listed = first_few([f"{one}/{two}" for one, two in similar])
        warnings.append(
            f"{len(similar)} pairs of gene ids differ only by letter case ({listed}): "
            "on a case-insensitive disk one would overwrite the other."
        )


def _where_else(var: Table, ids: pd.Index[Any], unknown: Sequence[str], column: str) -> str:
    """Say where genes are that `column` does not name, or under which names they may be there."""
    others = [("index", var.index)] if column != "index" else []
    others += readable_columns(var, [name for name in map(str, var.columns) if name != column])
    holding = [
        f"{name} ({n} of them)"
        for name, values in others
        if (n := len(set(unknown) & set(pd.Index(values).astype(str))))
    ]
    if holding:
        return f"They are in var {first_few(holding)}: name it with --var-gene-id-column"
    by_case = {each.lower(): each for each in ids}
    if near := [by_case[gene.lower()] for gene in unknown if gene.lower() in by_case]:
        return f"Did you mean {first_few(near)}? Check the names"
    return (
        f"Check the names (for example {first_few(list(ids[:3]))}), choose another "
        "--var-gene-id-column"
    )


def _check_lengths(ids: Sequence[str], settings: Settings) -> None:
    bits, compressed = settings.var_quantization, settings.compression is not None
    long = names.too_long({gene: names.gene_path(gene, bits, compressed) for gene in ids})
    if long:
        raise RequestError(
            f"{len(long)} gene ids are too long for the name of a file ({abbreviated(long[0])}): "
            "choose another column with --var-gene-id-column, or pass --shorten-gene-names."
        )


def _check_unique(ids: Sequence[str], column: str) -> None:
    index = pd.Index(ids)
    repeated = index[index.duplicated()].unique()
    if len(repeated):
        raise RequestError(
            f"var {column} names {len(repeated)} gene{'s' * (len(repeated) > 1)} more than once, "
            f"duplicates: {first_few(list(repeated))}. "
            "Choose another column with --var-gene-id-column, or pass --make-genes-unique."
        )
