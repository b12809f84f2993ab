"""Sources and targets by URL give what paths give."""

from __future__ import annotations

import zipfile
from pathlib import Path

import anndata as ad
import cloudpickle
import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from upath import UPath

import cellucid_dask
from cellucid_dask.source import open_source
from tests.helpers import SETTINGS, tree_bytes
from tests.viewer_reader import check


@pytest.fixture(scope="module")
def adata() -> ad.AnnData:
    random = np.random.default_rng(0)
    matrix = sparse.random(500, 40, 0.3, format="csr", dtype=np.float32, random_state=random)
    return ad.AnnData(matrix, obsm={"X_umap": random.random((500, 2), np.float32)})


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_source_and_target_by_url(
    adata: ad.AnnData, form: str, storage: str, tmp_path: Path
) -> None:
    adata = adata.copy()
    adata.X = adata.X.toarray() if storage == "dense" else adata.X.asformat(storage)
    local = tmp_path / f"a.{form}"
    if form == "h5ad":
        adata.write_h5ad(local, compression="gzip")
    else:
        adata.write_zarr(local)
    memory = fsspec.filesystem("memory")
    memory.put(str(local), f"/{tmp_path.name}/a.{form}", recursive=True)
    cellucid_dask.export(local, tmp_path / "here", **SETTINGS)
    url = f"memory://{tmp_path.name}"
    cellucid_dask.export(f"{url}/a.{form}", f"{url}/there", **SETTINGS)
    memory.get(f"/{tmp_path.name}/there", str(tmp_path / "there"), recursive=True)

    check(tmp_path / "there")
    assert tree_bytes(tmp_path / "there") == tree_bytes(tmp_path / "here")


@pytest.mark.parametrize("scheme", ["memory://{}", "{}"], ids=["memory", "local"])
def test_paths_of_universal_pathlib(adata: ad.AnnData, scheme: str, tmp_path: Path) -> None:
    """They are taken wherever a path is: as source, target, scratch, and by all that read."""
    root = UPath(scheme.format(tmp_path))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    source, target = root / "a.h5ad", root / "all/out"
    source.write_bytes((tmp_path / "cells.h5ad").read_bytes())
    cellucid_dask.export(source, target)
    lazy = adata.copy()
    lazy.X = da.from_array(adata.X.toarray(), chunks=(100, 40))
    assert cellucid_dask.plan(lazy, scratch=root).route == "scratch"
    cellucid_dask.export(lazy, root / "all/lazy", scratch=root)
    assert not [each for each in root.iterdir() if "scratch" in each.name]
    report = cellucid_dask.verify(target, source, genes="all")
    assert (report.ok, report.n_compared) == (True, adata.n_vars)
    values = cellucid_dask.open_export(target).gene(adata.var_names[3])
    np.testing.assert_allclose(values, adata.X[:, 3].toarray().ravel(), atol=0.01)
    cellucid_dask.prepare(
        gene_expression=adata.X, var=adata.var, obs=adata.obs, out_dir=root / "all/old",
        latent_space=adata.obsm["X_umap"], X_umap_2d=adata.obsm["X_umap"],
    )  # fmt: skip
    listed = cellucid_dask.catalog(root / "all")["datasets"]
    assert [each["path"] for each in listed] == ["lazy/", "old/", "out/"]


def test_source_in_an_archive_by_universal_pathlib(adata: ad.AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "a.h5ad")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.h5ad", "a.h5ad")
    source = UPath(f"zip://a.h5ad::{tmp_path}/a.zip")
    cellucid_dask.export(source, tmp_path / "out")
    assert check(tmp_path / "out").genes == list(adata.var_names)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_relative_source_is_read_from_another_directory(
    adata: ad.AnnData, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    adata.write_h5ad(data / "a.h5ad") if form == "h5ad" else adata.write_zarr(data / "a.zarr")

    monkeypatch.chdir(data)
    with open_source(f"a.{form}") as source:
        sent = cloudpickle.dumps(source.matrix("X"))
    monkeypatch.chdir(elsewhere)  # as a worker of a cluster that was started there
    found = cloudpickle.loads(sent).read(slice(100, 400), slice(0, 40))

    np.testing.assert_array_equal(found.toarray(), adata.X[100:400].toarray())


def test_target_by_url_is_refused_when_taken(adata: ad.AnnData, tmp_path: Path) -> None:
    target = f"memory://{tmp_path.name}/taken"
    cellucid_dask.export(adata, target, progress=False)
    with pytest.raises(cellucid_dask.RequestError, match="already contains"):
        cellucid_dask.export(adata, target, progress=False)
    cellucid_dask.export(adata, target, progress=False, force=True)


def test_refused_force_leaves_the_old_export(adata: ad.AnnData, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tall = ad.AnnData(
        sparse.random(30_000, 300, 0.3, format="csr", dtype=np.float32, random_state=random),
        obsm={"X_umap": random.random((30_000, 2), np.float32)},
    )
    cellucid_dask.export(adata, tmp_path / "out", progress=False)
    with pytest.raises(cellucid_dask.RequestError, match="Scratch"):
        cellucid_dask.export(
            tall, tmp_path / "out", force=True, scratch=str(tmp_path / "no"), progress=False
        )
    check(tmp_path / "out")


def test_lazy_anndata(tmp_path: Path) -> None:
    pytest.importorskip("xarray", reason="anndata reads lazily with xarray only")
    random = np.random.default_rng(0)
    kinds = pd.Categorical(random.choice(["b", "a"], 500), categories=["b", "a"])
    matrix = sparse.random(500, 40, 0.3, format="csr", dtype=np.float32, random_state=random)
    adata = ad.AnnData(
        matrix,
        obs=pd.DataFrame({"kind": kinds}, index=[str(i) for i in range(500)]),
        obsm={"X_umap": random.random((500, 2), np.float32)},
    )
    adata.write_h5ad(tmp_path / "a.h5ad")
    lazy = ad.experimental.read_lazy(tmp_path / "a.h5ad")

    cellucid_dask.export(lazy, tmp_path / "out", progress=False)

    found = check(tmp_path / "out")
    assert found.manifest("obs_manifest.json")["_categoricalFields"][0][1] == ["b", "a"]
    np.testing.assert_allclose(
        found.gene("7"), matrix[:, [7]].toarray().ravel(), rtol=0, atol=1 / 500
    )
