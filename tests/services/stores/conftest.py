from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.services.stores import servers


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.Store]:
    with servers.moto() as store:
        yield store


@pytest.fixture(scope="session")
def s3fs(moto: servers.Store) -> servers.Store:
    return moto.by_fsspec()


@pytest.fixture(scope="session")
def gcs() -> Iterator[servers.Store]:
    with servers.gcs() as store:
        yield store


@pytest.fixture(scope="session")
def azure() -> Iterator[servers.Store]:
    with servers.azure() as store:
        yield store


@pytest.fixture(scope="session")
def adlfs(azure: servers.Store) -> servers.Store:
    return azure.by_fsspec()


@pytest.fixture(scope="session")
def ceph() -> Iterator[servers.Store]:
    with servers.ceph() as store:
        yield store


@pytest.fixture(scope="session")
def ceph_s3fs(ceph: servers.Store) -> servers.Store:
    return ceph.by_fsspec()


@pytest.fixture(
    params=[
        "moto", "s3fs", "gcs", "azure", "adlfs",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ceph", "ceph_s3fs")),
    ]
)  # fmt: skip
def store(request: pytest.FixtureRequest) -> servers.Store:
    found: servers.Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["moto", "s3fs"])
def s3(request: pytest.FixtureRequest) -> servers.Store:
    """S3 as either kind of client asks it."""
    found: servers.Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=[{}, servers.ONLY_S3FS], ids=["obstore", "s3fs"])
def either_client(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of S3 that leave the choice of the client, and such that only s3fs knows."""
    found: dict[str, Any] = request.param
    return found
