"""What an element is called, and how it is kept, changes nothing: file, memory or backed object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import cellucid_dask
from cellucid_dask.source import open_source
from tests.export.refusing import refused
from tests.helpers import SETTINGS, dense, small_anndata, write_h5ad, write_zarr
from tests.viewer_reader import assert_gene, check

Kept = Callable[[ad.AnnData, Path], Any]


def in_memory(adata: ad.AnnData, _: Path) -> Any:
    return adata


def h5ad(adata: ad.AnnData, folder: Path) -> Any:
    return write_h5ad(adata, folder / "a.h5ad")


def zarr_store(adata: ad.AnnData, folder: Path) -> Any:
    return write_zarr(adata, folder / "a.zarr")


def backed(adata: ad.AnnData, folder: Path) -> Any:
    return ad.read_h5ad(h5ad(adata, folder), backed="r")


def lazy(adata: ad.AnnData, folder: Path) -> Any:
    return ad.experimental.read_lazy(zarr_store(adata, folder))


every_kind = pytest.mark.parametrize("kept", [in_memory, h5ad, zarr_store, backed, lazy])


def assert_matrix(target: Path, matrix: Any) -> None:
    export = check(target)
    for gene, values in zip(export.genes, dense(matrix).T, strict=True):
        assert_gene(export, gene, values, 8)


def assert_points(target: Path, coordinates: Any) -> None:
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    expected = (coordinates - (low + high) / 2) * 2 / (high - low).max()
    np.testing.assert_allclose(check(target).points(2), expected, atol=1e-6)


# Layers


@every_kind
@pytest.mark.parametrize("name", ["raw", "X"])
@pytest.mark.parametrize("form", ["csr", "dense"])
def test_layer_called_like_a_matrix(tmp_path: Path, kept: Kept, name: str, form: Any) -> None:
    adata = small_anndata(form=form, extras=False)
    adata.layers[name] = adata.X * 2
    if name == "X":
        adata.X = None
    expected = dense(adata.layers[name])
    source = kept(adata, tmp_path)
    with open_source(source) as opened:
        assert list(opened.layers).count(name) == 1
    cellucid_dask.export(source, tmp_path / "out", layer=name, **SETTINGS)
    assert_matrix(tmp_path / "out", expected)


@every_kind
def test_raw_comes_before_a_layer_of_its_name(tmp_path: Path, kept: Kept) -> None:
    adata = small_anndata()
    adata.layers["raw"] = adata.X * 2
    expected = dense(adata.raw.X)
    cellucid_dask.export(kept(adata, tmp_path), tmp_path / "out", layer="raw", **SETTINGS)
    assert check(tmp_path / "out").genes == list(adata.raw.var_names)
    assert_matrix(tmp_path / "out", expected)


def test_raw_without_names_of_genes(tmp_path: Path) -> None:
    source = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(source, "a") as file:
        del file["raw/var"]
    cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    refused(source, tmp_path / "new", r"^raw/var of a\.h5ad is not there", layer="raw")


# obsm


@every_kind
def test_embedding_in_a_table(tmp_path: Path, kept: Kept) -> None:
    adata = small_anndata(extras=False)
    umap = adata.obsm.pop("X_umap").astype(np.float64)
    adata.obsm["spatial"] = pd.DataFrame(umap, index=adata.obs_names, columns=["x", "y"])
    source = kept(adata, tmp_path)
    assert widths(source) == {"spatial": 2, "X_pca": 6}
    cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    assert_points(tmp_path / "out", umap)


@every_kind
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_embedding(tmp_path: Path, kept: Kept, form: Any) -> None:
    adata = small_anndata(extras=False)
    umap = adata.obsm["X_umap"]
    adata.obsm["X_umap"] = form(umap)
    source = kept(adata, tmp_path)
    cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    assert_points(tmp_path / "out", umap)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_sparse_embedding_of_anndata_0_6(tmp_path: Path, form: str) -> None:
    adata = small_anndata(extras=False)
    umap = adata.obsm["X_umap"]
    adata.obsm["X_umap"] = sparse.csr_matrix(umap).asformat(form)
    source = write_h5ad(adata, tmp_path / "a.h5ad")
    with h5py.File(source, "a") as file:
        for group in (file["X"], file["obsm/X_umap"]):
            shape, kind = group.attrs["shape"], group.attrs["encoding-type"]
            for name in list(group.attrs):
                del group.attrs[name]
            group.attrs.update(h5sparse_shape=shape, h5sparse_format=kind[:3])
    assert widths(source) == {"X_umap": 2, "X_pca": 6}
    cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    assert_points(tmp_path / "out", umap)
    assert_matrix(tmp_path / "out", adata.X)


@pytest.mark.parametrize("block_rows", [7, 1000])
def test_sparse_latent_space_is_read_by_rows(tmp_path: Path, block_rows: int) -> None:
    adata = small_anndata(extras=False)
    adata.obsm["wide"] = sparse.random(40, 300, density=0.1, format="csc", random_state=0)
    with open_source(write_h5ad(adata, tmp_path / "a.h5ad")) as opened:
        values = opened.obsm("wide")
        rows = [values[start : start + block_rows] for start in range(0, 40, block_rows)]
    np.testing.assert_array_equal(np.concatenate(rows), adata.obsm["wide"].toarray())


def widths(source: Any) -> dict[str, int]:
    with open_source(source) as opened:
        return dict(opened.obsm_widths)


def test_elements_without_columns_are_passed_over(tmp_path: Path) -> None:
    """Awkward arrays, of which a library that may not be there knows more."""
    adata = small_anndata(extras=False)
    plain = {name: getattr(adata, name) for name in ("obs", "var", "X", "raw", "layers", "obsp")}
    ragged = SimpleNamespace(ndim=2)
    obsm = {**adata.obsm, "airr": ragged, 5: adata.obsm["X_pca"]}
    source = SimpleNamespace(n_obs=40, obs_names=adata.obs_names, obsm=obsm, **plain)
    assert widths(source) == {"X_umap": 2, "X_pca": 6, "5": 6}
    cellucid_dask.export(source, tmp_path / "out", embeddings=["5:0,1"], **SETTINGS)
    assert_points(tmp_path / "out", adata.obsm["X_pca"][:, :2])


def test_awkward_array(tmp_path: Path) -> None:
    awkward = pytest.importorskip("awkward")
    adata = small_anndata(extras=False)
    adata.obsm["airr"] = awkward.Array([[{"locus": "TRA"}] * (i % 3) for i in range(40)])
    for kept in (in_memory, h5ad, zarr_store):
        assert widths(kept(adata, tmp_path)) == {"X_umap": 2, "X_pca": 6}


# Names


@pytest.mark.parametrize("name", [5, 2.5, ("a", 1), True])
def test_names_that_are_no_text(tmp_path: Path, name: Any) -> None:
    adata = small_anndata(extras=False)
    adata.obs[name] = np.arange(40.0)
    adata.var[name] = [f"other{i}" for i in range(12)]
    cellucid_dask.export(
        adata, tmp_path / "out", obs_keys=[str(name)], var_gene_id_column=str(name), **SETTINGS
    )
    export = check(tmp_path / "out")
    np.testing.assert_allclose(export.obs[str(name)], np.arange(40.0), atol=0.08)
    assert export.genes == [f"other{i}" for i in range(12)]


def test_names_of_several_levels(tmp_path: Path) -> None:
    adata = small_anndata(extras=False)
    adata.var.index = pd.MultiIndex.from_tuples([(name, 1) for name in adata.var_names])
    refused(adata, tmp_path / "out", "^The index of var has 2 levels: .*adata.var_names =")
    adata = small_anndata(extras=False)
    adata.obs.index = pd.MultiIndex.from_tuples([(name, 1) for name in adata.obs_names])
    refused(adata, tmp_path / "out", "^The index of obs has 2 levels", cell_ids=True)
    cellucid_dask.export(adata, tmp_path / "out", **SETTINGS)


# Masked values


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int64"])
@pytest.mark.parametrize("is_dask", [False, True])
def test_masked_values_are_missing(tmp_path: Path, dtype: str, is_dask: bool) -> None:
    adata = small_anndata(form="dense", dtype=dtype, extras=False)
    values = adata.X
    masked: Any = np.ma.masked_greater(values, 3)
    adata.X = da.from_array(masked, chunks=(15, 12), asarray=False) if is_dask else masked
    cellucid_dask.export(adata, tmp_path / "out", **SETTINGS)
    assert (values > 3).any()
    assert_matrix(tmp_path / "out", np.where(values > 3, np.nan, values))


def test_mask_of_nothing_changes_nothing(tmp_path: Path) -> None:
    adata = small_anndata(form="dense", dtype="int32", extras=False)
    values = adata.X
    adata.X = np.ma.masked_array(values)
    cellucid_dask.export(adata, tmp_path / "out", **SETTINGS)
    assert_matrix(tmp_path / "out", values)


def test_masked_coordinates_are_no_coordinates(tmp_path: Path) -> None:
    adata = small_anndata(extras=False)
    adata.obsm["X_umap"] = np.ma.masked_greater(adata.obsm["X_umap"], 1)
    refused(adata, tmp_path / "out", "X_umap.*non-finite", embeddings=["X_umap"])


# Columns that cannot be read


def edited(tmp_path: Path, suffix: str, edit: Callable[[Any], None]) -> Path:
    adata, path = small_anndata(extras=False), tmp_path / f"a{suffix}"
    adata.var["other"] = 1.0
    if suffix == ".h5ad":
        with h5py.File(write_h5ad(adata, path), "a") as file:
            edit(file)
    else:
        edit(zarr.open_group(write_zarr(adata, path), use_consolidated=False))
    return path


def of_unknown_kind(file: Any) -> None:
    file["obs/score"].attrs["encoding-type"] = "r-list"


def not_there(file: Any) -> None:
    del file["obs/score"]


def a_number(file: Any) -> None:
    del file["obs/score"]
    ad.io.write_elem(file["obs"], "score", 5.0)


def a_mapping(file: Any) -> None:
    del file["obs/score"]
    ad.io.write_elem(file["obs"], "score", {"a": 1})


def without_codes(file: Any) -> None:
    del file["obs/score"]
    ad.io.write_elem(file["obs"], "score", pd.Categorical(["a", "b"] * 20))
    del file["obs/score/codes"]


@pytest.mark.parametrize("edit", [of_unknown_kind, not_there, a_number, a_mapping, without_codes])
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_column_that_cannot_be_read(
    tmp_path: Path, edit: Callable[[Any], None], suffix: str
) -> None:
    path = edited(tmp_path, suffix, edit)
    with pytest.warns(cellucid_dask.ExportWarning, match=rf"^obs/score of a{suffix} .*skipped"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)
    export, adata = check(tmp_path / "out"), small_anndata()
    assert set(export.obs) == set(adata.obs.columns) - {"score"}
    assert list(export.obs["sample"]) == list(adata.obs["sample"])
    refused(path, tmp_path / "new", f"^obs/score of a{suffix}", obs_keys=["score"])


def test_text_that_is_no_utf_8(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        attributes = dict(file["obs/cell_type/categories"].attrs)
        del file["obs/cell_type/categories"]
        values = np.array([b"\xb5m", b"b", b"c"], dtype=object)
        names = file["obs/cell_type"].create_dataset(
            "categories", data=values, dtype=h5py.string_dtype()
        )
        names.attrs.update(attributes)

    path = edited(tmp_path, ".h5ad", edit)
    with pytest.warns(cellucid_dask.ExportWarning, match=r"^obs/cell_type of a\.h5ad .*utf-8"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_columns_of_genes_that_nobody_needs(tmp_path: Path, suffix: str) -> None:
    def edit(file: Any) -> None:
        file["var/other"].attrs["encoding-type"] = "r-list"

    path = edited(tmp_path, suffix, edit)
    cellucid_dask.export(path, tmp_path / "out", var_gene_id_column="symbol", **SETTINGS)
    assert check(tmp_path / "out").genes == [f"symbol-gene{i}" for i in range(12)]
    said = f"^var/other of a{suffix} cannot be read"
    refused(path, tmp_path / "new", said, var_gene_id_column="other")
    refused(path, tmp_path / "new", said, gene_aliases="other")


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_columns_of_genes_that_are_only_looked_at(tmp_path: Path, suffix: str) -> None:
    """For symbols, and for what there is to choose from."""
    adata = small_anndata(genes=[f"ENSG{i:011}" for i in range(12)], extras=False)
    adata.var["feature_name"] = 1.0
    adata.var["gene_symbols"] = [f"symbol{i}" for i in range(12)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5ad":
        with h5py.File(write_h5ad(adata, path), "a") as file:
            file["var/feature_name"].attrs["encoding-type"] = "r-list"
    else:
        store = zarr.open_group(write_zarr(adata, path), use_consolidated=False)
        store["var/feature_name"].attrs["encoding-type"] = "r-list"
    cellucid_dask.export(path, tmp_path / "out", **SETTINGS)
    assert "symbol3" in (tmp_path / "out/aliases.json").read_text()
    refused(path, tmp_path / "new", "its boolean columns: marker", genes_from="gone")


def test_order_of_columns_in_bytes(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        del file["obs"].attrs["column-order"]
        file["obs"].attrs["column-order"] = np.array([b"score", b"sample"])

    cellucid_dask.export(edited(tmp_path, ".h5ad", edit), tmp_path / "out", **SETTINGS)
    assert set(check(tmp_path / "out").obs) == {"score", "sample"}


@pytest.mark.parametrize("version", [2, 3])
def test_columns_of_zarr_that_differ_by_case(tmp_path: Path, version: Any) -> None:
    adata = small_anndata(extras=False)
    adata.obs["Cell_Type"] = adata.obs["cell_type"].cat.rename_categories(str.upper)
    path = write_zarr(adata, tmp_path / "a.zarr", version=version)
    cellucid_dask.export(path, tmp_path / "out", **SETTINGS)
    export = check(tmp_path / "out")
    for key in ("cell_type", "Cell_Type"):
        assert export.categories(key) == list(adata.obs[key].cat.categories)
