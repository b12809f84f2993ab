"""Cell metadata of every kind, from files and from memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from reader import check

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError

Make = Callable[..., ad.AnnData]


@pytest.fixture
def with_barcodes() -> ad.AnnData:
    n_cells = 1500
    barcodes = [f"AAAC{i}-1" for i in range(n_cells)]
    obs = pd.DataFrame(
        {
            "text": np.array(barcodes, dtype=object),
            "category": pd.Categorical(barcodes),
            "half": [f"group{i % 750}" for i in range(n_cells)],
            "depth": np.arange(n_cells),
        },
        index=barcodes,
    )
    return ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((n_cells, 2))})


@pytest.mark.parametrize("stored", [False, True])
def test_a_value_for_every_cell_is_left_out(
    with_barcodes: ad.AnnData, write_h5ad: Callable[..., Path], tmp_path: Path, stored: bool
) -> None:
    source = write_h5ad(with_barcodes, tmp_path / "a.h5ad") if stored else with_barcodes
    with pytest.warns(ExportWarning, match="columns text, category hold a value for nearly every"):
        cellucid_dask.export(source, tmp_path / "out")
    assert set(check(tmp_path / "out").obs) == {"half", "depth"}


def test_named_it_is_kept(with_barcodes: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(with_barcodes, tmp_path / "out", obs_keys=["text"])
    labels = check(tmp_path / "out").labels("text")
    assert labels.tolist() == with_barcodes.obs["text"].tolist()


def test_named_and_too_many_is_refused(tmp_path: Path) -> None:
    obs = pd.DataFrame({"barcode": np.arange(70_000).astype(str)})
    adata = ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((70_000, 2))})
    with pytest.raises(RequestError, match="70,000 categories"):
        cellucid_dask.export(adata, tmp_path / "out", obs_keys=["barcode"])


def test_plan_says_which_embeddings(small_anndata: Make) -> None:
    plan: Any = cellucid_dask.plan(small_anndata())
    assert "2D from X_umap" in str(plan)
    assert plan.to_dict()["embeddings"] == {"2d": "X_umap"}
