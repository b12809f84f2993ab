"""Names that a file system cannot keep, or cannot keep apart, are refused before the work."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError
from cellucid_dask.format import names
from cellucid_dask.store.location import Location
from cellucid_dask.store.names import check_names, ignores_case
from tests.export.refusing import refused, with_genes
from tests.helpers import SETTINGS, small_anndata
from tests.viewer_reader import check

LONGEST = 255 - len(".values.u8.gz")


@pytest.mark.parametrize("length", [LONGEST + 1, 5_000])
def test_a_gene_whose_name_is_too_long(target: Path, length: int) -> None:
    adata = with_genes("P" * length, "P" * (length - 1) + "Q", "LYZ")
    words = refused(adata, target, "shorten_gene_names=True")
    assert f"{length:,} characters" in words
    assert len(words) < 400
    with pytest.raises(RequestError, match="too long"):
        cellucid_dask.plan(adata)

    cellucid_dask.export(adata, target, shorten_gene_names=True, **SETTINGS)
    found = check(target)
    assert [gene[:5] for gene in found.genes] == ["PPPPP", "PPPPP", "LYZ"]
    values = adata.X.toarray()
    for column, gene in enumerate(found.genes):
        step = np.ptp(values[:, column]) / 254
        np.testing.assert_allclose(found.gene(gene), values[:, column], atol=step / 2 + 1e-6)
    assert cellucid_dask.verify(target, adata, genes="all").ok


def test_the_longest_gene_name_is_exported(target: Path) -> None:
    cellucid_dask.export(with_genes("P" * LONGEST, "LYZ"), target, **SETTINGS)
    assert check(target).genes[0] == "P" * LONGEST


@pytest.mark.parametrize("length", [256, 5_000])
def test_a_column_whose_name_is_too_long(target: Path, length: int) -> None:
    adata = small_anndata()
    adata.obs["y" * length] = 1.0
    refused(adata, target, "obs column y+... of .* too long for a file")
    cellucid_dask.export(adata, target, obs_keys=["score"], **SETTINGS)
    check(target)


def test_bytes_of_a_key_of_a_store_are_counted() -> None:
    bucket = Location.of("memory://bucket/" + "x" * 1_000)
    with pytest.raises(RequestError, match="shorter path"):
        check_names(bucket, ["var/" + "g" * 40])
    check_names(bucket, ["var/g"])


@pytest.mark.parametrize("n_folders", [16, 17])  # the latter are too long themselves
def test_the_limit_of_a_path_is_the_systems(tmp_path: Path, n_folders: int) -> None:
    deep = tmp_path.joinpath(*["d" * 250] * n_folders)
    with pytest.raises(RequestError, match="shorter path"):
        check_names(Location.of(deep), ["var/" + "g" * 200])
    check_names(Location.of(tmp_path), ["var/" + "g" * 200])


def test_the_limit_of_a_name_is_the_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some, such as encrypted home folders, keep 143 bytes only."""
    limits = {"PC_NAME_MAX": 143, "PC_PATH_MAX": 4096}
    monkeypatch.setattr(os, "pathconf", lambda _, name: limits[name])
    refused(with_genes("g" * 150, "LYZ"), tmp_path / "export", "shorten_gene_names=True")


def test_columns_that_differ_by_case_only(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = small_anndata()
    adata.obs["Score"] = 1.0
    with pytest.warns(ExportWarning, match="score/Score"):
        cellucid_dask.export(adata, target, **SETTINGS)
    check(target)
    monkeypatch.setattr("cellucid_dask.store.names.ignores_case", lambda _: True)
    other = tmp_path / "mac"
    refused(adata, other, r"overwrite each other.*score\..*Score\.")
    refused(with_genes("Actb", "ACTB"), other, "overwrite each other", obs_keys=[])
    with pytest.raises(RequestError, match="letter case"):
        cellucid_dask.plan(adata, other)


def test_a_folder_that_ignores_case_is_known(tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    assert not ignores_case(tmp_path / "Data")
    (tmp_path / "dATA").symlink_to(tmp_path / "Data")  # what such a file system shows
    assert ignores_case(tmp_path / "Data")
    assert not ignores_case(Path("/"))


@given(st.text(max_size=600))
def test_a_shortened_name_fits_and_stays_apart(key: str) -> None:
    short = names.shortened(key)
    assert len(names.gene_path(short, 16, compressed=True)) <= 255
    assert names.shortened(short) == short
    if short != key:
        assert names.shortened(key + "x") != short
