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


@pytest.mark.parametrize("stored", ["h5ad", "zarr", None])
def test_every_dtype(tmp_path: Path, stored: str | None) -> None:
    n_cells = 60
    random = np.random.default_rng(0)
    whole = random.integers(0, 5, n_cells)
    some = np.where(random.random(n_cells) < 0.2, None, whole)
    obs = pd.DataFrame(
        {
            "category": pd.Categorical.from_codes(whole, list("edcba")),
            "ordered": pd.Categorical.from_codes(whole, ["z", "m", "a", "b", "c"], ordered=True),
            "unused": pd.Categorical(["x"] * n_cells, categories=["w", "x", "y"]),
            "nothing": pd.Categorical([None] * n_cells, categories=[]),
            "numbers": pd.Categorical(whole * 1.5),
            "text": np.array(list("abcde"), dtype=object)[whole],
            "nullable text": pd.array([None if v is None else f"t{v}" for v in some], "string"),
            "nullable integer": pd.array(some, "Int64"),
            "nullable boolean": pd.array([None if v is None else bool(v % 2) for v in some]),
            "boolean": whole > 2,
            "short": whole.astype(np.int8),
            "half": (whole / 3).astype(np.float32),
            "missing": np.full(n_cells, np.nan),
        },
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = ad.AnnData(obs=obs, obsm={"X_umap": random.random((n_cells, 2))})
    source: Any = adata
    if stored is not None:
        source = tmp_path / f"a.{stored}"
        getattr(adata, f"write_{stored}")(source)
    cellucid_dask.export(source, tmp_path / "out", obs_continuous_quantization=None)
    found = check(tmp_path / "out")
    assert set(found.obs) == set(obs.columns)
    numeric = {"nullable integer", "short", "half", "missing"}
    for key, column in obs.items():
        if key in numeric:
            expected = column.astype(float).to_numpy().astype(np.float32)
            np.testing.assert_array_equal(found.values(str(key)), expected)
            continue
        labels = found.labels(str(key)).tolist()
        given = [None if pd.isna(value) else str(value) for value in column]
        assert [None if pd.isna(label) else label for label in labels] == given
    assert found.categories("ordered") == ["z", "m", "a", "b", "c"]
    assert found.categories("unused") == ["w", "x", "y"]
    assert found.categories("nothing") == []
    assert found.categories("boolean") == ["False", "True"]


def test_what_the_viewer_cannot_show_is_left_out(tmp_path: Path) -> None:
    days = pd.to_timedelta(np.arange(20), unit="D")
    obs = pd.DataFrame({"age": days, "wave": np.arange(20) * 1j, "depth": np.arange(20)})
    adata = ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((20, 2))})
    with pytest.warns(ExportWarning, match=r"age \(timedelta64.*wave \(complex128\)"):
        cellucid_dask.export(adata, tmp_path / "out")
    assert set(check(tmp_path / "out").obs) == {"depth"}
    with pytest.raises(RequestError, match="'age' has dtype"):
        cellucid_dask.export(adata, tmp_path / "named", obs_keys=["age"])
