"""Exports from and to real object stores are what they are on a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, small_anndata, tree_bytes
from tests.services.stores.servers import Store
from tests.viewer_reader import check

pytestmark = pytest.mark.xdist_group("stores")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    random = np.random.default_rng(0)
    matrix = sparse.random(500, 60, 0.3, format="csr", dtype=np.float32, rng=random)
    adata = small_anndata(matrix)
    adata.write_h5ad(folder / "a.h5ad", compression="gzip")
    adata.write_h5ad(folder / "lzf.h5ad", compression="lzf")
    adata.write_zarr(folder / "a.zarr", chunks=(100, 60))
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def local(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("local") / "out"
    cellucid_dask.export(sources["a.h5ad"], target, **SETTINGS)
    return target


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_same_bytes_from_store_to_store(
    store: Store, name: str, sources: dict[str, Path], local: Path, tmp_path: Path
) -> None:
    same_bytes(store, sources[name], local, tmp_path)


def test_lzf_in_a_store(moto: Store, sources: dict[str, Path], local: Path, tmp_path: Path) -> None:
    same_bytes(moto, sources["lzf.h5ad"], local, tmp_path)


def same_bytes(store: Store, source: Path, local: Path, tmp_path: Path) -> None:
    bucket = store.bucket()
    store.fs.put(str(source), f"{bucket}/{source.name}", recursive=True)
    cellucid_dask.export(
        f"{bucket}/{source.name}", f"{bucket}/there", storage_options=store.options,
        source_storage_options=store.options, **SETTINGS,
    )  # fmt: skip
    store.fs.invalidate_cache()
    store.fs.get(f"{bucket}/there/", f"{tmp_path}/there/", recursive=True)
    check(tmp_path / "there")
    assert tree_bytes(tmp_path / "there") == tree_bytes(local)


def test_headers_and_replacement(store: Store, sources: dict[str, Path]) -> None:
    bucket = store.bucket()
    target = f"{bucket}/atlas"
    options: dict[str, Any] = {"storage_options": store.options, "progress": False}
    source = sources["a.h5ad"]
    cellucid_dask.export(source, target, gene_identifiers=["gene0", "gene1"], **options)
    path = target.partition("://")[2]
    for name, kind in (
        ("var/gene0.values.u8.gz", "application/gzip"),
        ("points_2d.bin.gz", "application/gzip"),
        ("obs_manifest.json", "application/json"),
        ("dataset_identity.json", "application/json"),
    ):
        headers = store.headers(f"{path}/{name}")
        assert headers["content-type"] == kind, name
        assert "content-encoding" not in headers, name
    with pytest.raises(cellucid_dask.RequestError, match="already contains"):
        cellucid_dask.export(source, target, **options)
    cellucid_dask.export(
        source, target, gene_identifiers=["gene1"], compression=None, force=True, **options
    )
    store.fs.invalidate_cache()
    held = {each.rpartition(f"{path}/")[2] for each in store.fs.find(path)}
    assert "var/gene1.values.u8" in held
    assert not [name for name in held if name.endswith(".gz")]
    assert not [name for name in held if name.startswith((".cellucid", ".dataset"))]
    assert store.headers(f"{path}/points_2d.bin")["content-type"] == "application/octet-stream"


def test_missing_bucket(store: Store, sources: dict[str, Path]) -> None:
    with pytest.raises(cellucid_dask.RequestError, match="bucket or container does not exist"):
        cellucid_dask.export(
            sources["a.h5ad"], f"{store.protocol}://test-there-is-none/atlas",
            storage_options=store.options, progress=False,
        )  # fmt: skip
