from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.services.stores import servers


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.Store]:
    with servers.moto() as store:
        yield store


@pytest.fixture(scope="session")
def s3fs(moto: servers.Store) -> servers.Store:
    """Moto, with an option that only s3fs knows."""
    return replace(moto, options={**moto.options, "config_kwargs": {"read_timeout": 30}})


@pytest.fixture(scope="session")
def gcs() -> Iterator[servers.Store]:
    with servers.gcs() as store:
        yield store


@pytest.fixture(scope="session")
def azure() -> Iterator[servers.Store]:
    with servers.azure() as store:
        yield store


@pytest.fixture(scope="session")
def ceph() -> Iterator[servers.Store]:
    with servers.ceph() as store:
        yield store


@pytest.fixture(
    params=["moto", "s3fs", "gcs", "azure", pytest.param("ceph", marks=pytest.mark.slow)]
)
def store(request: pytest.FixtureRequest) -> servers.Store:
    found: servers.Store = request.getfixturevalue(request.param)
    return found
