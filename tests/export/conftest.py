"""A place to export to, and sources: of each route, and stored the wrong way round."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from tests.export.crashes import make
from tests.helpers import small_anndata, write_h5ad


@pytest.fixture(scope="session", params=["csr", "csc"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source a route: row-major through scratch, gene-major straight."""
    path = tmp_path_factory.mktemp("source") / f"{request.param}.h5ad"
    make(request.param, n_cells=3000, n_genes=60).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def csr(tmp_path: Path) -> Path:
    path = tmp_path / "csr.h5ad"
    make("csr").write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "export"


def transpose_x(path: Path) -> None:
    """Store the dense X of an h5ad file the other way round."""
    with h5py.File(path, "a") as file:
        matrix, attributes = file["X"][:].T, dict(file["X"].attrs)
        del file["X"]
        file["X"] = matrix
        file["X"].attrs.update(attributes)


@pytest.fixture
def transposed(tmp_path: Path) -> Path:
    path = write_h5ad(small_anndata(form="dense"), tmp_path / "transposed.h5ad")
    transpose_x(path)
    return path
