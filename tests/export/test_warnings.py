"""Oddities of the data that an export warns of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cellucid_dask
from tests.export.refusing import assert_warned, refused, with_genes
from tests.helpers import small_anndata
from tests.viewer_reader import check


def test_names_that_differ_by_case_are_said(target: Path) -> None:
    adata = with_genes("Actb", "ACTB", "other")
    assert_warned(adata, target, "(?i)case")


def test_genes_of_zeros_are_counted(target: Path) -> None:
    matrix = np.zeros((40, 6), dtype=np.float32)
    matrix[:, 2] = np.linspace(0.1, 1, 40)
    assert_warned(small_anndata(matrix), target, r"(?i)\b5\b.*zero")


def test_genes_with_missing_values_are_named(target: Path) -> None:
    matrix = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    matrix[[1, 2, 3], 2] = [np.nan, np.inf, -np.inf]
    assert_warned(small_anndata(matrix, form="dense"), target, r"gene2(.|\n)*3|3(.|\n)*gene2")


def test_constant_genes(target: Path) -> None:
    matrix = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    matrix[:, 1] = 2.5
    assert_warned(small_anndata(matrix), target, "(?i)constant|same value|one value")


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_counts_look_raw(target: Path, dtype: str) -> None:
    matrix = np.random.default_rng(0).poisson(1.0, (40, 6)).astype(dtype)
    assert_warned(small_anndata(matrix), target, "(?i)raw")


def test_normalized_values_do_not_look_raw(target: Path, recwarn: pytest.WarningsRecorder) -> None:
    cellucid_dask.export(small_anndata(), target)
    assert not [str(each.message) for each in recwarn if "counts" in str(each.message).lower()]


def test_missing_genes_are_skipped(target: Path) -> None:
    genes = ["gene1", "CD3D", "gene0"]
    assert_warned(small_anndata(), target, "CD3D", gene_identifiers=genes, skip_missing_genes=True)
    assert check(target).genes == ["gene1", "gene0"]


def test_no_gene_is_left(target: Path) -> None:
    refused(small_anndata(), target, "CD3D", gene_identifiers=["CD3D"], skip_missing_genes=True)


def test_no_latent_space(target: Path) -> None:
    adata = small_anndata()
    del adata.obsm["X_pca"]
    assert_warned(adata, target, "(?i)latent|X_umap")
