"""Range, size and checksum of encoded genes, for the manifest, warnings and a resumed run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cellucid_dask.types import Array

_DTYPES: dict[str, Any] = {
    "column": np.int64,
    "lowest": np.float64,
    "highest": np.float64,
    "n_missing": np.int64,
    "nbytes": np.int64,
    "sha256": np.dtype("S64"),
    "tag": np.dtype("S32"),
}


@dataclass(frozen=True)
class GeneSummary:
    """One entry per encoded gene.

    Attributes
    ----------
    column
        int64, (n_genes,): matrix column of the gene.
    lowest, highest
        float64, (n_genes,): range of the finite values.
    n_missing
        int64, (n_genes,): number of NaN and infinite values.
    nbytes
        int64, (n_genes,): size of the file.
    sha256
        S64, (n_genes,): SHA-256 of the file in hexadecimal.
    tag
        S32, (n_genes,): what the target can compare with the file, see `Target.tag`.
    shared
        Size, SHA-256 and tag of the files that hold several genes, by path; in a format of such
        files those of each gene are empty.
    """

    column: Array
    lowest: Array
    highest: Array
    n_missing: Array
    nbytes: Array
    sha256: Array
    tag: Array
    shared: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return int(self.nbytes.sum()) + sum(nbytes for nbytes, *_ in self.shared.values())

    @classmethod
    def empty(cls) -> GeneSummary:
        """Return the summary of no gene."""
        columns: dict[str, Any] = {name: np.empty(0, dtype) for name, dtype in _DTYPES.items()}
        return cls(**columns)

    @classmethod
    def joined(cls, summaries: Sequence[GeneSummary]) -> GeneSummary:
        """Concatenate summaries of different genes and sort by matrix column."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(each, name) for each in summaries]) for name in _DTYPES
        }
        shared = {path: digest for each in summaries for path, digest in each.shared.items()}
        return cls(**columns, shared=shared).take(np.argsort(columns["column"]))

    def take(self, rows: Array) -> GeneSummary:
        """Return the entries at some positions, and all files that genes share."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _DTYPES}
        return GeneSummary(**columns, shared=self.shared)

    def to_lists(self) -> dict[str, list[Any]]:
        """Return all but the columns, for JSON: a receipt identifies genes by their files."""
        lists = {name: getattr(self, name).tolist() for name in _DTYPES if name != "column"}
        lists |= {name: [each.decode() for each in lists[name]] for name in ("sha256", "tag")}
        return lists | {"shared": [[path, *digest] for path, digest in self.shared.items()]}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any], column: Array) -> GeneSummary:
        """Rebuild a summary from the result of `to_lists` and the columns of its genes.

        Raises
        ------
        ValueError, KeyError, TypeError, OverflowError
            `lists` is damaged, or of other genes.
        """
        columns: dict[str, Any] = {
            name: np.array(lists[name], dtype)
            for name, dtype in _DTYPES.items()
            if name != "column"
        }
        if any(values.shape != column.shape for values in columns.values()):
            raise ValueError("columns of different lengths")
        shared = {
            str(path): (int(n), str(sha256), str(tag)) for path, n, sha256, tag in lists["shared"]
        }
        return cls(column=column, **columns, shared=shared)
