"""Stores that fail: for a moment, for good, half-way, or before anything began."""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError, RequestError
from cellucid_dask import source as source_room
from cellucid_dask.engine import commit
from cellucid_dask.source import open_source, zarr_store
from cellucid_dask.store.preflight import check_answers, check_reachable
from tests.helpers import SETTINGS, tree_bytes
from tests.services.stores.proxy import Fault, proxied, sometimes
from tests.services.stores.servers import Store, free_port
from tests.viewer_reader import check

pytestmark = pytest.mark.xdist_group("stores")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "a.h5ad"
    random = np.random.default_rng(0)
    matrix = sparse.random(500, 130, 0.3, format="csc", dtype=np.float32, rng=random)
    adata = ad.AnnData(matrix, obsm={"X_umap": random.random((500, 2), np.float32)})
    adata.write_h5ad(path)
    adata.write_zarr(path.with_suffix(".zarr"))
    return path


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_same_bytes_through_a_bad_network(
    s3: Store, source: Path, name: str, tmp_path: Path
) -> None:
    bucket = s3.bucket()
    s3.fs.put(str(source.parent / name), f"{bucket}/{name}", recursive=True)
    cellucid_dask.export(source, tmp_path / "here", **SETTINGS)
    with proxied(s3.address, sometimes(0.05)) as (address, proxy):
        options = s3.through(address)
        cellucid_dask.export(
            f"{bucket}/{name}", f"{bucket}/out", storage_options=options,
            source_storage_options=options, **SETTINGS,
        )  # fmt: skip
    assert {"503", "reset", "cut", "slow"} <= set(proxy.faults)
    s3.fs.invalidate_cache()
    s3.fs.get(f"{bucket}/out/", f"{tmp_path}/out/", recursive=True)
    check(tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "here")


def test_credentials_revoked_half_way(s3: Store, source: Path) -> None:
    bucket = s3.bucket()

    def revoked(number: int, _method: str) -> Fault:
        return "403" if number > 60 else None

    with proxied(s3.address, revoked) as (address, _):
        began = time.monotonic()
        with pytest.raises(
            ExportError, match=r"could not be written to, access was denied .*credentials"
        ) as failure:
            cellucid_dask.export(
                source, f"{bucket}/out", storage_options=s3.through(address), **SETTINGS
            )
        assert time.monotonic() - began < 20
    assert s3.options["secret"] not in str(failure.value)
    s3.fs.invalidate_cache()
    held = s3.fs.find(f"{bucket}/out")
    assert any("/var/" in name for name in held)
    assert not [name for name in held if name.endswith("dataset_identity.json")]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a store a second to answer, not ten."""
    monkeypatch.setattr(commit, "check_reachable", partial(check_reachable, seconds=1))
    for module in (source_room, zarr_store):
        monkeypatch.setattr(module, "check_answers", partial(check_answers, seconds=1))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_nobody_answers(host: str, either_client: dict[str, Any], source: Path) -> None:
    address = f"http://{host}:{free_port()}"
    options = {**either_client, "key": "k", "secret": "s-e-c-r-e-t", "endpoint_url": address}
    began = time.monotonic()
    with pytest.raises(RequestError, match="check the address") as refusal:
        cellucid_dask.export(source, "s3://bucket/out", storage_options=options, **SETTINGS)
    assert time.monotonic() - began < 10
    assert "s-e-c-r-e-t" not in str(refusal.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["a.zarr", "a.h5ad"])
def test_source_that_does_not_answer(name: str, either_client: dict[str, Any]) -> None:
    address = f"http://[::1]:{free_port()}"
    options = {**either_client, "key": "k", "secret": "s-e-c-r-e-t", "endpoint_url": address}
    began = time.monotonic()
    with (
        pytest.raises(RequestError, match="check the address") as refusal,
        open_source(f"s3://bucket/{name}", options),
    ):
        pass
    assert time.monotonic() - began < 10
    assert "s-e-c-r-e-t" not in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["key", "secret", "anonymous", "other"])
def test_wrong_credentials(
    ceph: Store, either_client: dict[str, Any], source: Path, wrong: str
) -> None:
    bucket = ceph.bucket()
    options = {
        "key": {**ceph.options, "key": "AKIDWRONG"},
        "secret": {**ceph.options, "secret": "wrong-secret"},
        "anonymous": {"anon": True, "endpoint_url": ceph.address},
        "other": {**ceph.options, "key": "AKIDOTHER", "secret": "other-secret-value"},
    }[wrong] | either_client
    with pytest.raises(RequestError, match="credentials") as refusal:
        cellucid_dask.export(source, f"{bucket}/out", storage_options=options, **SETTINGS)
    assert str(options.get("secret", "-secret-")) not in str(refusal.value)
    assert not ceph.fs.find(f"{bucket}/out")


@pytest.mark.parametrize("name", ["azure", "adlfs"])
def test_wrong_azure_key(name: str, source: Path, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(name)
    bucket = store.bucket()
    text = store.options["connection_string"].replace("AccountKey=Eby8", "AccountKey=AAAA")
    options = {**store.options, "connection_string": text}
    with pytest.raises(RequestError, match="credentials") as refusal:
        cellucid_dask.export(source, f"{bucket}/out", storage_options=options, **SETTINGS)
    assert "AAAAvdM0" not in str(refusal.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_full(small_disk: Path, source: Path) -> None:
    with pytest.raises(ExportError, match="the disk is full"):
        cellucid_dask.export(source, small_disk / "out", **SETTINGS)
    assert not (small_disk / "out" / "dataset_identity.json").exists()


def test_read_only_disk(small_disk: Path, source: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RequestError, match="read-only"):
        cellucid_dask.export(source, small_disk / "out", **SETTINGS)
