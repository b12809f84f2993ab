"""The document that lists the data sets under one root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cellucid_dask.format.decode import DamageError
from cellucid_dask.format.parse import count, member
from cellucid_dask.types import Json

CATALOG_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A data set: its folder, its identity in brief, and its format if it is not ``compact_v1``."""

    folder: str
    id: str
    name: str
    n_cells: int
    n_genes: int
    format: str = ""

    @classmethod
    def of(cls, folder: str, identity: Json, format: str = "") -> Entry:  # noqa: A002
        """Make the entry of an identity.

        Raises
        ------
        DamageError
            The identity is not valid.
        """
        stats = member(identity, "stats", dict)
        dataset_id = member(identity, "id", str)
        if not dataset_id:
            raise DamageError("has an empty id")
        name = str(identity.get("name") or dataset_id)
        counts = count(stats, "n_cells"), count(stats, "n_genes")
        return cls(folder, dataset_id, name, *counts, format)


def catalog_document(entries: list[Entry], default: str) -> dict[str, Any]:
    """Describe the data sets under a root.

    Parameters
    ----------
    entries
        In the order in which they are listed.
    default
        The id of the data set to show first.

    Returns
    -------
    dict
        The content of ``datasets.json``.
    """
    return {
        "version": CATALOG_VERSION,
        "default": default,
        "datasets": [
            {
                "id": entry.id,
                "path": f"{entry.folder}/",
                "name": entry.name,
                "n_cells": entry.n_cells,
                "n_genes": entry.n_genes,
                **({"format": entry.format} if entry.format else {}),
            }
            for entry in entries
        ],
    }
