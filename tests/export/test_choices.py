"""What is chosen by itself can be exported: arrays that cannot be shown are passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportWarning
from tests.export.refusing import refused
from tests.helpers import SETTINGS, small_anndata, write_h5ad
from tests.viewer_reader import check


def _with_hole(width: int, hole: float = np.nan) -> Any:
    array = np.random.default_rng(3).normal(size=(40, width))
    array[3] = hole
    return array


UNFIT = {
    "mask": ("is_kept", np.ones((40, 1), bool), "bool"),
    "missing values": ("X_sub", _with_hole(3), "not finite in 1 cells"),
    "infinite values": ("X_umap_3d", _with_hole(3, np.inf), "not finite in 1 cells"),
    "beyond float32": ("X_far", _with_hole(1, 1e300), "not finite in 1 cells"),
    "complex numbers": ("X_complex", np.ones((40, 3), complex), "complex128"),
    "preferred by name": ("X_UMAP", _with_hole(2), "not finite in 1 cells"),
    "sparse": ("X_sparse", sparse.csr_matrix(_with_hole(3)), "not finite in 1 cells"),
}


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "h5ad"])
@pytest.mark.parametrize("case", UNFIT)
def test_an_array_that_cannot_be_shown_is_passed_over(
    tmp_path: Path, target: Path, case: str, *, stored: bool
) -> None:
    key, array, reason = UNFIT[case]
    adata = small_anndata(extras=False)
    adata.obsm[key] = array
    source = write_h5ad(adata, tmp_path / "a.h5ad") if stored else adata
    with pytest.warns(ExportWarning, match=f"{key}'.*{reason}"):
        result = cellucid_dask.export(source, target, **SETTINGS)
    assert dict(result.embeddings) == {2: "X_umap"}
    check(target)
    refused(source, tmp_path / "named", key, embeddings=[key])


def test_a_latent_space_that_is_not_finite_is_passed_over(target: Path) -> None:
    adata = small_anndata()
    adata.obsm["X_scVI"] = _with_hole(8)
    with pytest.warns(ExportWarning, match="X_scVI'.*skipped"):
        cellucid_dask.export(adata, target, **SETTINGS)
    adata.obsm["X_scVI"] = adata.obsm["X_pca"]
    del adata.obsm["X_pca"]
    other = target.with_name("other")
    cellucid_dask.export(adata, other, **SETTINGS)
    name = "obs/cell_type.outliers.u8.gz"
    assert (target / name).read_bytes() == (other / name).read_bytes()


def test_nothing_fit_is_refused_with_the_reasons(tmp_path: Path) -> None:
    adata = small_anndata()
    adata.obsm = {"X_umap": _with_hole(2), "mask": np.ones((40, 1), bool)}
    words = refused(adata, tmp_path / "export", "embeddings=")
    assert "'X_umap' is not finite in 1 cells" in words
    assert "'mask' holds bool" in words


def test_columns_left_out_by_default_are_refused_when_named(tmp_path: Path, target: Path) -> None:
    adata = small_anndata()
    adata.obs["took"] = pd.to_timedelta(np.arange(40), unit="s")
    with pytest.warns(ExportWarning, match="took"):
        cellucid_dask.export(adata, target, **SETTINGS)
    assert "took" not in check(target).obs
    refused(adata, tmp_path / "named", "took", obs_keys=["took"])
