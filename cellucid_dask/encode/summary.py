"""What the manifest, the warnings and a resumed run need of genes that are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cellucid_dask.types import Array

_DTYPES: dict[str, Any] = {
    "column": np.int64,
    "lowest": np.float64,
    "highest": np.float64,
    "n_missing": np.int64,
    "nbytes": np.int64,
    "md5": np.dtype("S32"),
}


@dataclass(frozen=True)
class GeneSummary:
    """Of some genes, one entry a gene each.

    Attributes
    ----------
    column
        Matrix column of the gene.
    lowest, highest
        float64 range of the finite values.
    n_missing
        NaN and infinite values.
    nbytes
        Size of the file.
    md5
        Of the file, hexadecimal: what stores give as a checksum.
    """

    column: Array
    lowest: Array
    highest: Array
    n_missing: Array
    nbytes: Array
    md5: Array

    @classmethod
    def empty(cls) -> GeneSummary:
        """Return the summary of no gene."""
        return cls(**{name: np.empty(0, dtype) for name, dtype in _DTYPES.items()})

    @classmethod
    def joined(cls, summaries: Sequence[GeneSummary]) -> GeneSummary:
        """Put summaries of different genes together, by matrix column."""
        columns = {
            each.name: np.concatenate([getattr(one, each.name) for one in summaries])
            for each in fields(cls)
        }
        return cls(**columns).take(np.argsort(columns["column"]))

    def take(self, rows: Array) -> GeneSummary:
        """Return some of the entries."""
        return GeneSummary(**{name: getattr(self, name)[rows] for name in _DTYPES})

    def to_lists(self) -> dict[str, list[Any]]:
        """Return all but the columns, for JSON: a receipt names genes by their files."""
        found = {name: getattr(self, name).tolist() for name in _DTYPES if name != "column"}
        return {**found, "md5": [each.decode() for each in found["md5"]]}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any], column: Array) -> GeneSummary:
        """Return what `to_lists` wrote, of genes in these columns.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is not that.
        """
        columns = {
            name: np.array(lists[name], dtype)
            for name, dtype in _DTYPES.items()
            if name != "column"
        }
        if any(values.shape != column.shape for values in columns.values()):
            raise ValueError("columns of different lengths")
        return cls(column=column, **columns)
