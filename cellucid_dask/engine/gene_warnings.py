"""Warnings about the genes of an export."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cellucid_dask.display import first_few
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.request.advice import raw_counts
from cellucid_dask.request.settings import Settings


def gene_warnings(
    summary: GeneSummary, gene_ids: Mapping[int, str], settings: Settings
) -> tuple[str, ...]:
    """Return warnings on genes that are empty, constant or partly missing, and on raw counts."""
    if not gene_ids:
        return ()
    messages = []
    ids = np.array([gene_ids[column] for column in summary.column.tolist()], dtype=object)
    lowest, highest = summary.lowest, summary.highest
    constant = lowest == highest
    zero = constant & (lowest == 0) & (summary.n_missing == 0)
    if zero.any():
        messages.append(
            f"{zero.sum():,} of {len(ids):,} genes are zero in every cell ({first_few(ids[zero])})."
        )
    constant &= lowest != 0
    if constant.any():
        messages.append(
            f"{constant.sum():,} of {len(ids):,} genes have one value in every cell "
            f"({first_few(ids[constant])})."
        )
    missing = summary.n_missing > 0
    if missing.any():
        messages.append(
            f"{missing.sum():,} of {len(ids):,} genes hold {summary.n_missing.sum():,} NaN or "
            f"infinite values, shown as missing ({first_few(ids[missing])}). "
            "Check the preprocessing."
        )
    whole = (lowest == np.rint(lowest)) & (highest == np.rint(highest))
    if settings.normalize is None and whole.all() and lowest.min() >= 0 and highest.max() > 1:
        messages.append(raw_counts(settings.layer))
    return tuple(messages)
