"""Every route, scratch and scheduler gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.runtime.resources import Resources
from tests.helpers import SETTINGS, tree_bytes
from tests.viewer_reader import check, read_export

GENES = [f"g{number}" for number in (7, 3, 299, 0, 150, 151)]


@pytest.fixture(scope="module")
def matrix() -> Any:
    random = np.random.default_rng(0)
    found = sparse.random(30_000, 300, 0.3, format="csr", dtype=np.float32, random_state=random)
    found.data[:50] = np.nan
    return found


@pytest.fixture(scope="module")
def files(matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The matrix stored by row and by column."""
    folder = tmp_path_factory.mktemp("routes")
    umap = np.random.default_rng(1).random((30_000, 2), np.float32)
    adata = ad.AnnData(matrix, obsm={"X_umap": umap})
    adata.var_names = [f"g{number}" for number in range(300)]
    paths = {form: folder / f"{form}.h5ad" for form in ("csr", "csc")}
    for form, path in paths.items():
        adata.X = matrix.asformat(form)
        adata.write_h5ad(path, compression="gzip")
    return paths


def export(source: Path, target: Path, **options: Any) -> None:
    cellucid_dask.export(source, target, **SETTINGS, **options)


@pytest.fixture(scope="module", params=[None, GENES], ids=["all", "some"])
def genes(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def direct(
    files: dict[str, Path], genes: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The export by the direct route, checked against the matrix elsewhere."""
    target = tmp_path_factory.mktemp("direct") / "export"
    assert cellucid_dask.plan(files["csc"], gene_identifiers=genes).route == "direct"
    export(files["csc"], target, gene_identifiers=genes)
    check(target)
    return tree_bytes(target)


def test_direct_holds_the_values(files: dict[str, Path], matrix: Any, tmp_path: Path) -> None:
    export(files["csc"], tmp_path / "out", gene_identifiers=GENES)
    found = read_export(tmp_path / "out")
    assert found.genes == GENES
    for gene in GENES:
        values = matrix[:, [int(gene[1:])]].toarray().ravel()
        low, high = np.nanmin(values), np.nanmax(values)
        np.testing.assert_allclose(found.gene(gene), values, rtol=0, atol=(high - low) / 507)


@pytest.mark.parametrize("budget", ["64MiB", "1GiB"])
@pytest.mark.parametrize("scratch", ["local", "memory://scratch"])
def test_scratch(
    files: dict[str, Path], genes: Any, direct: Any, tmp_path: Path, budget: str, scratch: str
) -> None:
    options = {"gene_identifiers": genes, "memory_budget": budget}
    place = str(tmp_path) if scratch == "local" else scratch
    with dask.config.set(scheduler="threads"):
        assert cellucid_dask.plan(files["csr"], **options).route == "scratch"
        export(files["csr"], tmp_path / "out", scratch=place, **options)
    assert tree_bytes(tmp_path / "out") == direct


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as workers,
        Client(workers) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("route", ["scratch", "workers"])
def test_cluster(
    files: dict[str, Path],
    genes: Any,
    direct: Any,
    tmp_path: Path,
    route: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if route == "workers":
        monkeypatch.setattr(Resources, "shares_disk", lambda *_: False)
    plan = cellucid_dask.plan(files["csr"], gene_identifiers=genes)
    assert plan.route == route
    assert plan.scratch_bytes > 0
    export(files["csr"], tmp_path / "out", gene_identifiers=genes)
    assert tree_bytes(tmp_path / "out") == direct
