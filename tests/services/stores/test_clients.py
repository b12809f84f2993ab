"""Both kinds of client give the same answers, whichever an address and its options choose."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.errors import ExportError, ExportWarning
from cellucid_dask.format import layout
from cellucid_dask.store import opening
from cellucid_dask.store.fsspec_client import FsspecClient
from cellucid_dask.store.location import Location
from cellucid_dask.store.obstore_options import Place
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import call, delete, fetch_ranges
from cellucid_dask.store.uploads import Uploads
from tests.helpers import SETTINGS, small_anndata
from tests.services.stores.proxy import proxied
from tests.services.stores.servers import Store

pytestmark = pytest.mark.xdist_group("stores")

ODD = "a b/#1~?%41{y}[z]é|.gz"


@pytest.fixture
def target(store: Store) -> Target:
    return Target.of(f"{store.bucket()}/some/atlas 1", store.options)


def test_which_client(store: Store, target: Target) -> None:
    by_fsspec = isinstance(target.client, FsspecClient)
    asked_for = {"config_kwargs", "read_timeout"} & store.options.keys()
    assert by_fsspec == (store.kind == "gcs" or bool(asked_for))
    assert by_fsspec or Target.of(target.url, store.options).client is target.client
    assert pickle.loads(pickle.dumps(target)).client is target.client or by_fsspec  # noqa: S301


def test_objects(target: Target) -> None:
    assert (target.tree(), target.names("var"), target.read("x")) == ({}, set(), None)
    files = {"x": b"0123456789", "empty": b"", "var/y.gz": b"abc", f"var/{ODD}": b"d"}
    target.put(files)
    assert target.tree() == {name: len(data) for name, data in files.items()}
    assert target.folders() == {"var"}
    assert set(target.files()) == {"x", "empty"}
    found = target.fetch({"x": 9, "empty": 0, "var/y.gz": 3, "nowhere": 1})
    assert isinstance(found.pop("nowhere"), FileNotFoundError)
    assert "larger than any" in str(found.pop("x"))
    assert found == {"empty": b"", "var/y.gz": b"abc"}
    assert [target.read(name) for name in files] == list(files.values())
    assert target.read_ranges([("x", 2, 5), (f"var/{ODD}", 0, 1), ("x", 4, 4), ("x", 9, 10)]) == [
        b"234", b"d", b"", b"9",
    ]  # fmt: skip
    with pytest.raises(ExportError, match=r"x is truncated: it ends before byte 11\."):
        target.read_ranges([("x", 0, 4), ("x", 8, 11)])
    target.remove(["x", "nowhere", "var/y.gz"])
    assert set(target.tree() or {}) == {"empty", f"var/{ODD}"}


def test_removal_takes_no_name_for_a_pattern(target: Target) -> None:
    like = ["obs/a[1]/0", "obs/a*/0", "obs/a?/0", f"var/{ODD}"]
    others = ["obs/a1/0", "obs/ab/0", "var/a b/#1~z"]
    target.put(dict.fromkeys([*like, *others], b"1"))
    target.remove(like)
    assert set(target.tree() or {}) == set(others)


def test_checksums(target: Target) -> None:
    target.put({"var/a": b"0123456789"})
    ((size, md5),) = target.files("var").values()
    assert (size, md5) == (10, "781e5e245d69b566979b86e28d23f2c7")


def test_one_of_two_creates(target: Target) -> None:
    assert target.create("lease", b"mine")
    assert not target.create("lease", b"theirs")
    assert target.create("lease", b"mine")  # as after an answer that was lost
    assert target.read("lease") == b"mine"


def test_piece_by_piece(target: Target) -> None:
    with target.stream("long.gz") as out:
        for _ in range(20):
            out.write(bytes(2**20))
    assert target.read("long.gz") == bytes(20 * 2**20)
    with target.client.open_reader(target.path("long.gz")) as file:
        assert file.seek(-5, os.SEEK_END) == 20 * 2**20 - 5
        assert file.read(10) == bytes(5)


@pytest.mark.parametrize(("name", "most"), [("a.h5ad", 24), ("a.zarr", 36)])
def test_few_requests_make_a_plan(s3: Store, tmp_path: Path, name: str, most: int) -> None:
    matrix = sparse.random(5_000, 300, 0.1, format="csr", dtype=np.float32, rng=0)
    adata = small_anndata(matrix)
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata.write_zarr(tmp_path / "a.zarr")
    bucket = s3.bucket()
    s3.fs.put(str(tmp_path / name), f"{bucket}/{name}", recursive=True)
    with proxied(s3.address, lambda _number, _method: None) as (address, proxy):
        cellucid_dask.plan(f"{bucket}/{name}", source_storage_options=s3.through(address))
    assert 3 < proxy.count <= most


def test_few_requests_open_an_export(s3: Store) -> None:
    url = f"{s3.bucket()}/atlas"
    cellucid_dask.export(small_anndata(), url, storage_options=s3.options, **SETTINGS)
    methods: list[str] = []
    with proxied(s3.address, lambda _number, method: methods.append(method)) as (address, _):
        opened = cellucid_dask.open_export(url, s3.through(address))
    assert opened.n_cells == small_anndata().n_obs
    # both formats are asked for, and that the store answers only once
    assert methods.count("HEAD") == 1
    assert len(methods) <= 4 + len(layout.DOCUMENTS)


def test_thousands_of_objects_are_listed_and_removed_by_thousands(s3: Store, moto: Store) -> None:
    bucket = s3.bucket()
    adata, url, options = small_anndata(), f"{bucket}/atlas", s3.options
    cellucid_dask.export(adata, url, storage_options=options, **SETTINGS)
    whole = Target.of(url, options).tree() or {}
    old = [f"atlas/var/old{number}.values.u8.gz" for number in range(3_000)]
    moto.fill(bucket, old)
    methods: list[str] = []
    with proxied(s3.address, lambda _number, method: methods.append(method)) as (address, _):
        there = s3.through(address)
        report = cellucid_dask.verify(url, storage_options=there)
        assert report.n_findings == len(old)
        assert len(methods) < 2 * len(whole) + 20
        methods.clear()
        assert cellucid_dask.catalog(bucket, storage_options=there)["datasets"]
        assert len(methods) < 60  # of which most write the page
        methods.clear()
        cellucid_dask.export(adata, url, storage_options=there, force=True, **SETTINGS)
    assert 3 <= methods.count("POST") + methods.count("DELETE") < 15
    assert len(methods) < 4 * len(whole) + 60
    assert Target.of(url, options).tree() == whole


def of_gcs(head: bytes) -> bytes:
    """Say to S3 what GCS's XML API calls by other names: paths are quoted whole, and conditions."""
    method, path, rest = head.split(b" ", 2)
    where, mark, query = path.partition(b"?")
    where = quote(unquote(where.decode())).encode()
    rest = rest.replace(b"x-goog-if-generation-match: 0", b"If-None-Match: *")
    return b" ".join([method, where + mark + query, rest])


def test_gcs_by_obstore(moto: Store) -> None:
    """The emulator of GCS lacks the API that obstore speaks; S3 has it but for a few names."""
    pytest.importorskip("obstore")
    from cellucid_dask.store.obstore_client import ObstoreClient

    bucket = moto.bucket().partition("://")[2]
    paths = {f"{bucket}/atlas/{name}": name.encode() for name in ("x.gz", "var/y.gz", f"var/{ODD}")}
    kind = "application/gzip"

    def token() -> dict[str, Any]:
        return {"token": "secret", "expires_at": None}

    with proxied(moto.address, lambda *_: None, translated=of_gcs) as (address, proxy):
        place = Place("gcs", bucket, "atlas", {"base_url": address}, {"allow_http": True})
        client = ObstoreClient(place, token)
        with Uploads(client) as out:
            for path, data in paths.items():
                out.put(path, data, kind)
        assert proxy.count == len(paths)
        wanted = [(path, 0, 100) for path in paths]
        assert [bytes(data) for data in fetch_ranges(client, wanted)] == list(paths.values())
        first = f"{bucket}/atlas/x.gz"
        assert bytes(call(client, lambda: client.get(first, -3))) == b".gz"
        call(client, lambda: client.create(f"{bucket}/lease", b"mine", kind))
        with pytest.raises(FileExistsError):
            call(client, lambda: client.create(f"{bucket}/lease", b"theirs", kind))
        with client.open_writer(f"{bucket}/long", kind) as long:
            for _ in range(20):
                long.write(bytes(2**20))
        assert call(client, lambda: client.info(f"{bucket}/long")).size == 20 * 2**20
        listed = call(client, lambda: client.entries(f"{bucket}/atlas"))
        assert [(each.path, each.is_folder) for each in listed] == [
            (f"{bucket}/atlas/var", True), (first, False),
        ]  # fmt: skip
        delete(client, [*paths, f"{bucket}/nowhere"])
        left = call(client, lambda: client.entries(bucket, below=True))
    assert {each.path for each in left} == {f"{bucket}/lease", f"{bucket}/long"}


def test_said_once(s3fs: Store, recwarn: pytest.WarningsRecorder) -> None:
    opening._say_once.cache_clear()
    warnings.simplefilter("always", ExportWarning)
    for _ in range(2):
        assert isinstance(Location.of("s3://bucket/a", s3fs.options).client, FsspecClient)
    (warning,) = recwarn
    assert "config_kwargs.read_timeout is only known to s3fs" in str(warning.message)


def test_after_a_fork(moto: Store) -> None:
    """What obstore runs in threads is not there after a fork: s3fs takes over."""
    script = f"""
import os
from cellucid_dask.store.location import Location
from cellucid_dask.store.target import Target
target = Target.of("{moto.bucket()}/a", {moto.options!r})
target.put({{"x": b"1"}})
child = os.fork()
if child == 0:
    here = Target.of(target.url, target.storage_options)
    assert here.read("x") == b"1", "not there"
    assert type(here.client).__name__ == "FsspecClient"
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert type(target.client).__name__ == "ObstoreClient"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
