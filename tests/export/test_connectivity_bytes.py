"""The neighbor graph: each edge once, in order, however the matrix is stored and cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import anndata as ad
import dask
import dask.array as da
import fsspec
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError
from cellucid_dask.request.resolve import resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.resources import Resources
from cellucid_dask.source import open_source
from cellucid_dask.store.target import Target
from tests.graphs import assert_edges, graphs, kept_as, neighbors
from tests.helpers import SETTINGS, Tree, small_anndata, tree_bytes, write_zarr
from tests.viewer_reader import check

FEW = settings(max_examples=15, suppress_health_check=list(HealthCheck))
# Real graphs

NEIGHBORS = "neighbors_scVI_n_latent_{}_sample_n_layers_3_{}"
REAL = [
    ("pbmc68k_reduced.h5ad", "connectivities"),
    ("pbmc68k_reduced.h5ad", "distances"),
    ("bruce_spatial.h5ad", "connectivities"),
    ("bruce_spatial.h5ad", "distances"),
    ("pbmc_small.h5ad", "distances"),
    ("cellrank_200.h5ad", "connectivities"),
    ("cellrank_200.h5ad", "connectivity_variances"),
    ("cellrank_200.h5ad", "distances"),
    ("cellrank_200.h5ad", "velocity_graph"),
    ("cellrank_200.h5ad", "velocity_graph_neg"),
    ("cellrank_200.h5ad", "velocity_variances"),
    *[
        ("ventolab_no_x.h5ad", NEIGHBORS.format(layers, kind))
        for layers in (14, 20)
        for kind in ("connectivities", "distances")
    ],
]


def test_no_real_graph_is_left_out(shared_data: Path) -> None:
    found = set()
    for file in shared_data.glob("*.h5ad"):
        if file.name != "zellkonverter_example.h5ad":  # it has no embedding to draw a graph over
            with open_source(file) as source:
                found |= {(file.name, key) for key in source.obsp_keys}
    assert found == set(REAL)


@pytest.mark.parametrize(("name", "key"), REAL)
def test_real_graph(shared_data: Path, tmp_path: Path, name: str, key: str) -> None:
    adata = ad.read_h5ad(shared_data / name)
    adata.var_names_make_unique()
    genes = None if adata.X is None else [str(adata.var_names[0])]
    options = {**SETTINGS, "connectivities": key, "obs_keys": [], "gene_identifiers": genes}

    cellucid_dask.export(shared_data / name, tmp_path / "file", **options)
    cellucid_dask.export(adata, tmp_path / "memory", **options)

    assert_edges(check(tmp_path / "file"), adata.obsp[key])
    assert tree_bytes(tmp_path / "file") == tree_bytes(tmp_path / "memory")


# Same bytes


def in_dask(block: Callable[[Any], Any], chunks: Any) -> Callable[[Any, Path], Any]:
    def make(matrix: Any, _: Path) -> ad.AnnData:
        adata = kept_as(matrix)
        lazy = da.from_array(matrix.toarray(), chunks=chunks).map_blocks(block)
        adata.obsp["graph"] = lazy
        return adata

    return make


def in_h5ad(form: Callable[[Any], Any]) -> Callable[[Any, Path], Path]:
    def make(matrix: Any, folder: Path) -> Path:
        path = folder / "cells.h5ad"
        kept_as(form(matrix)).write_h5ad(path, compression="gzip")
        return path

    return make


def in_zarr(form: Callable[[Any], Any], version: Literal[2, 3]) -> Callable[[Any, Path], Path]:
    def make(matrix: Any, folder: Path) -> Path:
        path = folder / "cells.zarr"
        return write_zarr(kept_as(form(matrix)), path, version=version)

    return make


FORMS: dict[str, Callable[[Any, Path], Any]] = {
    "csc": lambda matrix, _: kept_as(matrix.tocsc()),
    "csr_array": lambda matrix, _: kept_as(sparse.csr_array(matrix)),
    "dense": lambda matrix, _: kept_as(matrix.toarray()),
    "fortran": lambda matrix, _: kept_as(np.asfortranarray(matrix.toarray())),
    "dask dense": in_dask(np.asarray, (5, 7)),
    "dask csr": in_dask(sparse.csr_matrix, (4, -1)),
    "dask csc": in_dask(sparse.csc_array, (-1, 3)),
    "h5ad csr": in_h5ad(lambda matrix: matrix),
    "h5ad csc": in_h5ad(sparse.csc_matrix),
    "h5ad dense": in_h5ad(lambda matrix: matrix.toarray()),
    "zarr v2 csr": in_zarr(lambda matrix: matrix, 2),
    "zarr v3 csc": in_zarr(sparse.csc_matrix, 3),
    "zarr v3 dense": in_zarr(lambda matrix: matrix.toarray(), 3),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
@FEW
@given(matrix=graphs(), level=st.sampled_from([None, 6]))
def test_every_form(
    tmp_path_factory: pytest.TempPathFactory, form: str, matrix: Any, level: int | None
) -> None:
    folder = tmp_path_factory.mktemp("form")
    options = {**SETTINGS, "connectivities": "graph", "compression": level}
    cellucid_dask.export(kept_as(matrix), folder / "csr", **options)
    assert_edges(check(folder / "csr"), matrix)

    cellucid_dask.export(FORMS[form](matrix, folder), folder / "export", **options)

    assert tree_bytes(folder / "export") == tree_bytes(folder / "csr")


@pytest.fixture(scope="module")
def graph() -> sparse.csr_matrix:
    """Return a graph of several segments, with a cell that has many neighbors."""
    matrix = neighbors(5_000, 12).tolil()
    matrix[3_000, :2_500] = 1
    return matrix.tocsr()


@pytest.fixture(scope="module")
def graph_file(graph: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "graph.h5ad"
    kept_as(graph).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def graph_tree(graph: Any, graph_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    target = tmp_path_factory.mktemp("whole") / "export"
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(graph_file, target, **SETTINGS, connectivities="graph")
    assert_edges(check(target), graph)
    return tree_bytes(target)


def exported(source: Any, target: Path, **options: Any) -> Tree:
    cellucid_dask.export(source, target, **SETTINGS, connectivities="graph", **options)
    return tree_bytes(target)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("budget", ["500kB", "3MB", None])
def test_any_budget(
    graph_file: Path, graph_tree: Tree, tmp_path: Path, scheduler: str, budget: str | None
) -> None:
    with dask.config.set(scheduler=scheduler):
        tree = exported(graph_file, tmp_path / "export", memory_budget=budget)

    assert tree == graph_tree


def test_a_small_budget_cuts_the_graph(graph_file: Path) -> None:
    options = Settings(connectivities="graph", memory_budget="500kB")
    with open_source(graph_file) as source:
        plan = resolve(source, options).edge_plan

    assert plan is not None
    assert len(plan.row_blocks) > 4
    assert sum(plan.row_blocks) == 5_000
    assert len(list(plan.ranges(np.full(5, 10_000)))) == 5
    assert list(plan.ranges(np.zeros(5, np.int64))) == [(0, 5)]


@pytest.mark.parametrize("chunks", [(5_000, 1_000), (999, 5_000), (1_234, 2_345)])
@pytest.mark.parametrize("block", [np.asarray, sparse.csr_matrix])
def test_any_chunks(graph: Any, graph_tree: Tree, tmp_path: Path, chunks: Any, block: Any) -> None:
    source = in_dask(block, chunks)(graph, tmp_path)

    assert exported(source, tmp_path / "export") == graph_tree


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as running:
        yield running


@pytest.mark.parametrize("shared_disk", [True, False])
def test_distributed(
    graph_file: Path,
    graph_tree: Tree,
    cluster: LocalCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_disk: bool,
) -> None:
    monkeypatch.setattr(Resources, "shares_disk", lambda *_: shared_disk)
    with Client(cluster):
        result = exported(graph_file, tmp_path / "export", memory_budget="3MB")

    assert result == graph_tree


def test_workers_without_a_common_disk(
    graph_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Resources, "shares_disk", lambda *_: False)

    result = cellucid_dask.export(graph_file, tmp_path / "export", connectivities="graph")

    assert result.scratch_bytes == 0


@pytest.mark.slow
def test_processes(graph_file: Path, graph_tree: Tree, tmp_path: Path) -> None:
    with dask.config.set(scheduler="processes", num_workers=2):
        assert exported(graph_file, tmp_path / "export") == graph_tree


def test_scratch_is_removed(graph_file: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    exported(graph_file, tmp_path / "export", scratch=str(scratch))

    assert not list(scratch.iterdir())


def test_into_a_store(graph_file: Path, graph_tree: Tree) -> None:
    cellucid_dask.export(graph_file, "memory://graphs/atlas", **SETTINGS, connectivities="graph")

    files = fsspec.filesystem("memory")
    for name, data in graph_tree.items():
        assert files.cat_file(f"/graphs/atlas/{name}") == data


def test_a_resumed_export_is_the_same(
    graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = small_anndata(n_cells=50)
    adata.obsp["graph"] = graph[:50, :50]
    expected = exported(adata, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Target, "publish", Mock(side_effect=ExportError("a plug was pulled")))
        with pytest.raises(ExportError, match="plug"):
            exported(adata, tmp_path / "export")

    assert exported(adata, tmp_path / "export", resume=True) == expected


def test_the_result_and_the_plan_count_it(graph_file: Path, tmp_path: Path) -> None:
    plan = cellucid_dask.plan(graph_file, connectivities="graph", compression=None)
    result = cellucid_dask.export(
        graph_file, tmp_path / "export", connectivities="graph", compression=None
    )

    assert plan.n_objects == result.n_objects == 3
    files = list((tmp_path / "export").rglob("*.bin"))
    assert result.nbytes == sum(file.stat().st_size for file in files)
    assert plan.output_bytes is not None
    assert 0.4 < plan.output_bytes / result.nbytes < 1.5
    assert 0 < plan.peak_memory <= plan.memory_budget
    assert plan.scratch_bytes >= result.scratch_bytes * 0.9
