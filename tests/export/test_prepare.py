"""The in-memory exporter's call: any arrays in, the bytes of `export` out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import cellucid_dask as cd
from cellucid_dask import ExportWarning, RequestError
from tests.helpers import Tree, small_anndata, tree_bytes
from tests.viewer_reader import check


def arrays_of(adata: ad.AnnData) -> dict[str, Any]:
    return {
        "latent_space": adata.obsm["X_pca"],
        "obs": adata.obs,
        "var": adata.var,
        "gene_expression": adata.X,
        "X_umap_2d": adata.obsm["X_umap"],
        "dataset_id": "cells",
        "dataset_name": "Cells",
    }


@pytest.fixture
def adata() -> ad.AnnData:
    return small_anndata()


def without_time(tree: Tree) -> Tree:
    identity = json.loads(tree["dataset_identity.json"])
    for key in ("embeddings", "latent", "checksums_sha256", "identity_sha256"):
        del identity["export_settings"][key]  # what the source calls them, and the time
    del identity["created_at"]
    return tree | {"dataset_identity.json": json.dumps(identity).encode()}


def test_call_of_the_in_memory_exporter() -> None:
    defaults = {
        name: each.default for name, each in inspect.signature(cd.prepare).parameters.items()
    }
    nothing = dict.fromkeys(
        [
            "latent_space",
            "obs",
            "var",
            "gene_expression",
            "gene_identifiers",
            "connectivities",
            "obs_keys",
            "var_quantization",
            "obs_continuous_quantization",
            "compression",
            "dataset_name",
            "dataset_description",
            "dataset_id",
            "source_name",
            "source_url",
            "source_citation",
            "X_umap_1d",
            "X_umap_2d",
            "X_umap_3d",
            "vector_fields",
        ]
    )
    assert defaults == nothing | {
        "var_gene_id_column": "index",
        "out_dir": "./exports",
        "centroid_outlier_quantile": 0.95,
        "centroid_min_points": 10,
        "force": False,
        "obs_categorical_dtype": "auto",
    }
    assert callable(cd.prepare)  # a second time: no module stands in its place


def test_same_bytes_as_export(adata: ad.AnnData, tmp_path: Path) -> None:
    cd.prepare(
        **arrays_of(adata), out_dir=tmp_path / "a", var_quantization=8, compression=6,
        obs_continuous_quantization=8,
    )  # fmt: skip
    cd.export(
        adata, tmp_path / "b", latent="X_pca", dataset_id="cells", dataset_name="Cells",
        embeddings=["X_umap"],
    )  # fmt: skip
    found, expected = (without_time(tree_bytes(tmp_path / name)) for name in "ab")
    assert found == expected


def h5_array(values: Any, folder: Path) -> Any:
    file = h5py.File(folder / "matrix.h5", "w")
    return file.create_dataset("x", data=values, chunks=(7, 5), compression="gzip")


def zarr_array(values: Any, folder: Path) -> Any:
    array = zarr.create_array(
        folder / "matrix.zarr", shape=values.shape, dtype=values.dtype, chunks=(7, 5)
    )
    array[:] = values
    return array


def backed(values: Any, folder: Path) -> Any:
    ad.AnnData(sparse.csr_matrix(values)).write_h5ad(folder / "backed.h5ad")
    return ad.read_h5ad(folder / "backed.h5ad", backed="r").X


FORMS: dict[str, Callable[[Any, Path], Any]] = {
    "dense": lambda values, _: values,
    "csr matrix": lambda values, _: sparse.csr_matrix(values),
    "csc array": lambda values, _: sparse.csc_array(values),
    "coo": lambda values, _: sparse.coo_matrix(values),
    "dask": lambda values, _: da.from_array(values, chunks=(9, 4)),
    "table": lambda values, _: pd.DataFrame(values),
    "h5py": h5_array,
    "zarr": zarr_array,
    "backed": backed,
}


@pytest.mark.parametrize("form", FORMS)
def test_kinds_of_expression(adata: ad.AnnData, tmp_path: Path, form: str) -> None:
    values = adata.X.toarray()
    given = arrays_of(adata) | {"gene_expression": FORMS[form](values, tmp_path)}

    result = cd.prepare(**given, out_dir=tmp_path / "out")

    export = check(tmp_path / "out")
    assert result.n_genes == adata.n_vars
    assert export.compression is None
    for i, gene in enumerate(adata.var_names):
        np.testing.assert_array_equal(export.gene(gene), values[:, i])


def test_the_index_of_obs_is_ignored(adata: ad.AnnData, tmp_path: Path) -> None:
    obs = adata.obs.set_axis(["same"] * adata.n_obs)
    obs[7] = np.arange(adata.n_obs)

    cd.prepare(**arrays_of(adata) | {"obs": obs}, out_dir=tmp_path / "out")

    np.testing.assert_array_equal(check(tmp_path / "out").values("7"), np.arange(adata.n_obs))


def test_missing_genes_are_warned_of(adata: ad.AnnData, tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="1 of 2 genes are not in var index: CD3D"):
        cd.prepare(**arrays_of(adata), out_dir=tmp_path / "out", gene_identifiers=["CD3D", "gene1"])
    assert check(tmp_path / "out").genes == ["gene1"]


def test_without_latent_space_or_genes(adata: ad.AnnData, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    with pytest.warns(ExportWarning, match="computed in the 3D embedding"):
        cd.prepare(
            obs=adata.obs,
            X_umap_1d=random.normal(size=adata.n_obs),
            X_umap_3d=random.normal(size=(adata.n_obs, 3)),
            out_dir=tmp_path / "out",
            vector_fields={"latent_drift_3d": random.normal(size=(adata.n_obs, 3))},
        )
    assert check(tmp_path / "out").identity["embeddings"]["available_dimensions"] == [1, 3]


def test_graph_and_vectors(adata: ad.AnnData, tmp_path: Path) -> None:
    graph = adata.obsp["connectivities"]
    velocity = np.random.default_rng(1).normal(size=(adata.n_obs, 2))

    cd.prepare(
        **arrays_of(adata),
        connectivities=graph,
        vector_fields={"velocity_umap_2d": velocity},
        out_dir=tmp_path / "out",
    )

    export = check(tmp_path / "out")
    low, high = np.sort(np.array(sparse.coo_matrix(graph + graph.T).coords), axis=0)
    wanted = {(int(a), int(b)) for a, b in zip(low, high, strict=True) if a != b}
    assert set(zip(*(map(int, each) for each in export.edges), strict=True)) == wanted
    umap = adata.obsm["X_umap"].astype(np.float64)
    scale = 2 / np.ptp(umap, axis=0).max()
    np.testing.assert_allclose(export.vector("velocity_umap", 2), velocity * scale, rtol=1e-5)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no embedding": ({"X_umap_2d": None}, "X_umap_1d, X_umap_2d or X_umap_3d"),
    "width": ({"X_umap_2d": np.zeros((40, 3))}, "X_umap_2d has 3 columns: it must have 2"),
    "no obs": ({"obs": None}, "obs is missing"),
    "obs": ({"obs": {"a": [1]}}, "obs is a dict: pass a pandas DataFrame"),
    "no var": ({"var": None}, "var is needed with gene_expression"),
    "embedding": ({"X_umap_2d": np.zeros((39, 2))}, "obs has 40 rows, but X_umap_2d has 39"),
    "latent": ({"latent_space": np.zeros((41, 2))}, "latent_space has 41"),
    "genes": ({"gene_expression": np.zeros((39, 12))}, "gene_expression has 39"),
    "transposed": ({"gene_expression": np.zeros((12, 40))}, "it is genes x cells, transpose it"),
    "var": ({"gene_expression": np.zeros((40, 11))}, "40 x 11.* var has 12 rows"),
    "graph": ({"connectivities": np.zeros((39, 39))}, "connectivities has 39"),
    "kind": ({"gene_expression": [[1, 2]]}, "gene_expression is a list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused_before_anything_is_written(adata: ad.AnnData, tmp_path: Path, name: str) -> None:
    changes, words = WRONG[name]
    with pytest.raises(RequestError, match=words):
        cd.prepare(**arrays_of(adata) | changes, out_dir=tmp_path / "out")
    assert not list(tmp_path.iterdir())
