"""A small AnnData with columns of every kind, and what Cellucid's own exporter makes of it.

`cellucid_ready.json` has the metadata that ``prepare()`` of cellucid 0.9.5 wrote of it, by path:
run this with a Python that has that package to record it again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

RECORDED = Path(__file__).parent / "cellucid_ready.json"
ABOUT = {
    "dataset_id": "cells",
    "dataset_name": "Cells",
    "dataset_description": "Some cells",
    "source_name": "Somewhere",
    "source_url": "https://example.org/cells",
}
N_CELLS, N_GENES = 60, 8


def _obs(dice: np.random.Generator) -> pd.DataFrame:
    half = N_CELLS // 2
    return pd.DataFrame(
        {
            "kind": pd.Categorical.from_codes(dice.integers(-1, 3, N_CELLS), ["T", "B", "é"]),
            "stage": pd.Categorical(["a", "b"] * half, categories=["b", "a"], ordered=True),
            "cluster": pd.Categorical(dice.integers(0, 3, N_CELLS)),
            "flag": dice.random(N_CELLS) < 0.5,
            "sample": dice.choice(["d1", "d2"], N_CELLS).astype(object),
            "barcode": [f"code {i}" for i in range(N_CELLS)],
            "score": np.where(dice.random(N_CELLS) < 0.1, np.nan, dice.random(N_CELLS)),
            "share": dice.random(N_CELLS).astype(np.float32),
            "depth": dice.integers(0, 9, N_CELLS),
            "small": dice.integers(0, 9, N_CELLS).astype(np.int16),
            "known": pd.array([1, None] * half, dtype="Int64"),
            "seen": pd.array([True, None] * half, dtype="boolean"),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )


def ready_anndata() -> ad.AnnData:
    dice = np.random.default_rng(0)
    matrix = sparse.random(N_CELLS, N_GENES, 0.3, "csr", np.float32, random_state=dice)
    weights = sparse.random(N_CELLS, N_CELLS, 0.1, "csr", random_state=dice)
    weights = sparse.csr_matrix(weights + weights.T)
    weights.setdiag(0)
    weights.eliminate_zeros()
    return ad.AnnData(
        matrix,
        obs=_obs(dice),
        var=pd.DataFrame(
            {"symbol": [f"S{i}" for i in range(N_GENES)], "marker": [True, False] * (N_GENES // 2)},
            index=[f"gene{i}" for i in range(N_GENES)],
        ),
        obsm={
            "X_pca": dice.random((N_CELLS, 5)),
            "X_umap": dice.random((N_CELLS, 2)),
            "velocity_umap": dice.random((N_CELLS, 2)),
        },
        obsp={"connectivities": weights},
    )


def metadata(store: Path) -> dict[str, Any]:
    """Return what describes the arrays and groups of a store, by path."""
    found: dict[str, Any] = json.loads((store / ".zmetadata").read_text())["metadata"]
    # zarr-python adds what it consolidated to the groups
    return {
        path: {"zarr_format": 2} if path.endswith(".zgroup") else found[path]
        for path in sorted(found)
    }


def _record() -> None:
    import cellucid

    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "cells.zarr"
        cellucid.prepare(
            store, format="zarr", data=ready_anndata(), citation_text="We, 2026", **ABOUT
        )
        lines = [
            f"{json.dumps(path)}: {json.dumps(content)}"
            for path, content in metadata(store).items()
        ]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _record()
    sys.exit(0)
