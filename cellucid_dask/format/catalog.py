"""The document that lists the data sets under one root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CATALOG_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A data set: its folder, and its identity in brief."""

    folder: str
    id: str
    name: str
    n_cells: int
    n_genes: int

    @classmethod
    def of(cls, folder: str, identity: Mapping[str, Any]) -> Entry:
        """Make the entry of an identity.

        Raises
        ------
        KeyError, TypeError, ValueError
            The identity is not valid.
        """
        stats = identity["stats"]
        dataset_id = identity["id"]
        if not isinstance(dataset_id, str) or not dataset_id:
            raise ValueError(dataset_id)
        name = str(identity.get("name") or dataset_id)
        return cls(folder, dataset_id, name, int(stats["n_cells"]), int(stats["n_genes"]))


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
            }
            for entry in entries
        ],
    }
