"""A place to export to, and a source that is stored the wrong way round."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from tests.helpers import small_anndata, write_h5ad


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
