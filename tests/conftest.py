from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from scipy import sparse

# A busy machine is no error.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest.register_assert_rewrite("viewer_reader")

MatrixForm = Literal["csr", "csc", "dense"]

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets, which is no part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not there: ../shared/data is missing")
    return SHARED_DATA


def _as_form(matrix: Any, form: MatrixForm) -> Any:
    if form == "dense":
        return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
    if sparse.issparse(matrix) and matrix.format == form:
        return matrix
    return {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[form](matrix)


def _random_expression(n_cells: int, n_genes: int, dtype: str, density: float, seed: int) -> Any:
    random = np.random.default_rng(seed)
    values = random.gamma(2.0, 1.5, size=(n_cells, n_genes))
    if not np.issubdtype(np.dtype(dtype), np.floating):
        values = np.ceil(values)
    return np.where(random.random(values.shape) < density, values, 0).astype(dtype)


def _cell_metadata(n_cells: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    kinds = pd.Categorical.from_codes(
        random.integers(-1, 3, n_cells), ["T cell", "B cell", "monocyte", "unseen"]
    )
    score = random.normal(size=n_cells)
    score[:1] = np.nan
    return pd.DataFrame(
        {
            "cell_type": kinds,
            "doublet": random.random(n_cells) < 0.3,
            "sample": random.choice(["donor 2", "donor 10"], n_cells).astype(object),
            "score": score,
            "depth": random.integers(100, 200, n_cells),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )


def _gene_metadata(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"symbol": [f"symbol-{name}" for name in names], "marker": np.arange(len(names)) % 2 == 0},
        index=pd.Index(names),
    )


def _small_anndata(
    matrix: Any = None,
    *,
    form: MatrixForm = "csr",
    dtype: str = "float32",
    genes: list[str] | None = None,
    n_cells: int = 40,
    n_genes: int = 12,
    density: float = 0.3,
    seed: int = 7,
    extras: bool = True,
) -> ad.AnnData:
    """Make an AnnData of few cells; `extras` are a layer, raw and a graph."""
    if matrix is None:
        matrix = _random_expression(n_cells, len(genes or range(n_genes)), dtype, density, seed)
    n_cells, n_genes = matrix.shape
    names = genes or [f"gene{i}" for i in range(n_genes)]
    random = np.random.default_rng(seed + 1)
    adata = ad.AnnData(
        X=_as_form(matrix, form),
        obs=_cell_metadata(n_cells, seed),
        var=_gene_metadata(names),
        obsm={
            "X_umap": random.normal(size=(n_cells, 2)).astype(np.float32),
            "X_pca": random.normal(size=(n_cells, 6)),
        },
    )
    if extras:
        _add_extras(adata, form, density, seed + 2)
    return adata


def _add_extras(adata: ad.AnnData, form: MatrixForm, density: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    n_cells, n_genes = adata.shape
    adata.layers["doubled"] = _as_form(adata.X.astype(np.float64) * 2, form)
    adata.obsp["connectivities"] = sparse.random(
        n_cells, n_cells, density=min(1.0, 3 / n_cells), format="csr", random_state=random
    )
    adata.raw = ad.AnnData(
        X=_as_form(_random_expression(n_cells, n_genes + 3, "float32", density, seed), form),
        obs=adata.obs[[]],
        var=_gene_metadata([f"raw{i}" for i in range(n_genes + 3)]),
    )


def _write_h5ad(
    adata: ad.AnnData, path: Path, *, compression: Literal["gzip", "lzf"] | None = "gzip"
) -> Path:
    adata.write_h5ad(path, compression=compression)
    return path


def _write_zarr(
    adata: ad.AnnData,
    path: Path,
    *,
    version: Literal[2, 3] = 3,
    chunks: tuple[int, int] | None = None,
) -> Path:
    with ad.settings.override(zarr_write_format=version), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of changes to come in what anndata writes
        adata.write_zarr(path, chunks=chunks)
    return path


def _tree_bytes(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="session")
def small_anndata() -> Callable[..., ad.AnnData]:
    """Return a function that makes a small AnnData, of a given matrix or a random one."""
    return _small_anndata


@pytest.fixture(scope="session")
def write_h5ad() -> Callable[..., Path]:
    return _write_h5ad


@pytest.fixture(scope="session")
def write_zarr() -> Callable[..., Path]:
    return _write_zarr


@pytest.fixture(scope="session")
def tree_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that reads every file below a folder."""
    return _tree_bytes


@pytest.fixture
def small_h5ad(tmp_path: Path) -> Path:
    """Return an ordinary h5ad file of 40 cells and 12 genes."""
    return _write_h5ad(_small_anndata(), tmp_path / "small.h5ad")
