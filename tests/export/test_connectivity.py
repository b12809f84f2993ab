"""The neighbor graph: each edge once, in order, however the matrix is stored and cut."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anndata as ad
import dask
import dask.array as da
import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError, RequestError
from cellucid_dask.encode.edges import cut, edge_keys, edge_range, join_keys, segments
from cellucid_dask.encode.gzip_blocks import GzipWriter, compress_blocks
from cellucid_dask.engine import commit
from cellucid_dask.request.resolve import resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.runtime.resources import Resources
from cellucid_dask.source import open_source
from cellucid_dask.store.target import Target
from tests.helpers import SETTINGS, Tree, run_command, small_anndata, tree_bytes
from tests.viewer_reader import ReadExport, check, gunzip, read_export

VALUES = [0.0, 1.0, -1.0, 0.25, np.nan]
FEW = settings(max_examples=15, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=100)


def edges_of(matrix: Any) -> tuple[Any, Any, int]:
    """Recompute sources, destinations and the largest number of neighbors."""
    stored = sparse.coo_matrix(matrix)
    places = (stored.row, stored.col)
    pattern = sparse.csr_matrix((stored.data != 0, places), shape=stored.shape, dtype=bool)
    both = (pattern + pattern.T).tolil()
    both.setdiag(0)
    whole = both.tocsr()
    whole.eliminate_zeros()
    upper = sparse.triu(whole, 1).tocsr()
    upper.sort_indices()
    upper = upper.tocoo()
    return upper.row, upper.col, int(np.diff(whole.indptr).max(initial=0))


def assert_edges(export: ReadExport, matrix: Any) -> None:
    sources, destinations, most = edges_of(matrix)
    np.testing.assert_array_equal(export.edges[0], sources)
    np.testing.assert_array_equal(export.edges[1], destinations)
    assert export.connectivity_manifest["max_neighbors"] == most
    assert export.identity["stats"]["n_edges"] == len(sources)
    assert export.identity["stats"]["has_connectivity"] is True


def kept_as(matrix: Any) -> ad.AnnData:
    """Make cells with no genes and this graph."""
    n_cells = matrix.shape[0]
    points = np.random.default_rng(3).normal(size=(n_cells, 2)).astype(np.float32)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    return ad.AnnData(obs=obs, obsm={"X_umap": points}, obsp={"graph": matrix})


def neighbors(n_cells: int, count: int, seed: int = 0) -> sparse.csr_matrix:
    random = np.random.default_rng(seed)
    columns = random.integers(0, n_cells, (n_cells, count))
    values = random.choice([0.5, 1.0, 2.0], columns.shape)
    indptr = np.arange(0, columns.size + 1, count)
    matrix = sparse.csr_matrix((values.ravel(), columns.ravel(), indptr), (n_cells, n_cells))
    matrix.sum_duplicates()
    return matrix


@st.composite
def graphs(draw: st.DrawFn, most: int = 24) -> Any:
    """Draw a CSR matrix in no order, with zeros that are stored and edges of a cell to itself."""
    n_cells = draw(st.integers(2, most))
    cell = st.integers(0, n_cells - 1)
    stored = draw(
        st.lists(
            st.tuples(cell, cell, st.sampled_from(VALUES)), max_size=60, unique_by=lambda e: e[:2]
        )
    )
    stored.sort(key=lambda entry: entry[0])
    rows = np.array([row for row, _, _ in stored], dtype=np.int32)
    indptr = np.searchsorted(rows, np.arange(n_cells + 1))
    columns = np.array([column for _, column, _ in stored], dtype=np.int32)
    values = np.array([value for _, _, value in stored], dtype=np.float64)
    return sparse.csr_matrix((values, columns, indptr), shape=(n_cells, n_cells))


def cuts(draw: st.DrawFn, n_cells: int) -> list[int]:
    return sorted({0, n_cells, *draw(st.lists(st.integers(0, n_cells), max_size=4))})


# Pure parts


@MANY
@given(data=st.data())
def test_any_blocks_hold_the_same_edges(data: st.DataObject) -> None:
    matrix = data.draw(graphs())
    n_cells = matrix.shape[0]
    rows, columns = cuts(data.draw, n_cells), cuts(data.draw, n_cells)
    kind = data.draw(st.sampled_from(["csr", "csc", "coo", "dense"]))
    keys = []
    for (top, bottom), (left, right) in itertools.product(
        itertools.pairwise(rows), itertools.pairwise(columns)
    ):
        region = matrix[top:bottom, left:right]
        block = region.toarray() if kind == "dense" else region.asformat(kind)
        keys.append(edge_keys(block, top, left))

    found = join_keys(keys)

    sources, destinations, _ = edges_of(matrix)
    np.testing.assert_array_equal(found >> np.uint64(32), sources)
    np.testing.assert_array_equal(found & np.uint64(2**32 - 1), destinations)


@MANY
@given(
    cells=st.lists(st.integers(0, 2**16 - 1), max_size=200),
    ends=st.lists(st.integers(0, 200), max_size=6),
    groups=st.lists(st.integers(0, 6), max_size=3),
    level=st.sampled_from([None, 1, 6, 9]),
)
def test_pieces_join_to_one_member(
    cells: list[int], ends: list[int], groups: list[int], level: int | None
) -> None:
    vector = np.array(cells, "<u2")
    fresh = sorted({0, len(vector), *(end for end in ends if end < len(vector))})
    whole, apart = io.BytesIO(), io.BytesIO()
    writer = GzipWriter(whole, level)
    writer.add(compress_blocks(vector, fresh, level))
    writer.finish()
    writer = GzipWriter(apart, level)
    shared = sorted({0, len(fresh) - 1, *(each for each in groups if each < len(fresh))})
    for first, last in itertools.pairwise(shared):
        bounds = np.array(fresh[first : last + 1])
        writer.add(compress_blocks(vector[bounds[0] : bounds[-1]], bounds - bounds[0], level))
    writer.finish()

    assert apart.getvalue() == whole.getvalue()
    assert writer.nbytes == len(whole.getvalue())
    plain = whole.getvalue() if level is None else gunzip(whole.getvalue())
    assert plain == vector.tobytes()


def test_segments_depend_on_the_cells_alone() -> None:
    assert segments(3).tolist() == [0, 3]
    assert segments(2500).tolist() == [0, 1024, 2048, 2500]
    assert len(segments(10**8)) <= 4098
    assert segments(10**8)[-1] == 10**8


@MANY
@given(matrix=graphs())
def test_an_encoded_range_counts_neighbors(matrix: Any) -> None:
    keys, n_cells = edge_keys(matrix, 0, 0), matrix.shape[0]
    bounds = np.array([0, n_cells // 2, n_cells])
    assert cut(keys, bounds)[-1] == len(keys)
    total = np.zeros(n_cells, np.int64)

    edge_range(keys, bounds, np.dtype("<u2"), 6).count_neighbors(total)

    sources, destinations, _ = edges_of(matrix)
    counted = np.bincount(np.concatenate([sources, destinations]), minlength=n_cells)
    np.testing.assert_array_equal(total, counted)


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
    found = {
        (file.name, key)
        for file in shared_data.glob("*.h5ad")
        for key in open_source(str(file)).obsp_keys
    }
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


def in_zarr(form: Callable[[Any], Any], version: int) -> Callable[[Any, Path], Path]:
    def make(matrix: Any, folder: Path) -> Path:
        path = folder / "cells.zarr"
        with ad.settings.override(zarr_write_format=version):
            kept_as(form(matrix)).write_zarr(path)
        return path

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
    plan = resolve(open_source(str(graph_file)), options).edge_plan

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


# What an export says


def test_without_a_graph(small_h5ad: Path, tmp_path: Path) -> None:
    cellucid_dask.export(small_h5ad, tmp_path / "export")

    export = check(tmp_path / "export")
    assert not export.connectivity_manifest
    assert export.identity["stats"]["has_connectivity"] is False
    assert export.identity["stats"]["n_edges"] is None


def test_a_graph_without_edges(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(np.diag([1.0, 2.0, 0.0]))
    cellucid_dask.export(kept_as(matrix), tmp_path / "export", connectivities="graph")

    assert_edges(check(tmp_path / "export"), matrix)
    assert read_export(tmp_path / "export").connectivity_manifest["n_edges"] == 0


@pytest.mark.parametrize(("n_cells", "dtype"), [(65_535, "uint16"), (65_536, "uint32")])
def test_the_width_of_an_index(tmp_path: Path, n_cells: int, dtype: str) -> None:
    matrix = sparse.eye(n_cells, k=-1, format="csr")
    cellucid_dask.export(kept_as(matrix), tmp_path / "export", connectivities="graph")

    export = check(tmp_path / "export")
    assert export.connectivity_manifest["index_dtype"] == dtype
    np.testing.assert_array_equal(export.edges[0], np.arange(n_cells - 1))
    np.testing.assert_array_equal(export.edges[1], np.arange(1, n_cells))


def test_the_manifest_comes_before_the_one_that_shows_the_export(
    small_h5ad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = []
    publish = Target.publish

    def watch(self: Target, name: str, data: bytes) -> None:
        published.append(name)
        assert (tmp_path / "export" / "connectivity" / "edges.dst.bin.gz").stat().st_size > 20
        publish(self, name, data)

    monkeypatch.setattr(Target, "publish", watch)
    cellucid_dask.export(small_h5ad, tmp_path / "export", connectivities="connectivities")

    assert published[-3:] == [
        "connectivity_manifest.json", "obs_manifest.json", "dataset_identity.json",
    ]  # fmt: skip


def test_force_takes_an_older_graph_away(small_h5ad: Path, tmp_path: Path) -> None:
    cellucid_dask.export(small_h5ad, tmp_path / "export", connectivities="connectivities")
    cellucid_dask.export(small_h5ad, tmp_path / "export", force=True)

    assert not check(tmp_path / "export").connectivity_manifest


def test_a_resumed_export_is_the_same(
    graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = small_anndata(n_cells=50)
    adata.obsp["graph"] = graph[:50, :50]
    expected = exported(adata, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(commit, "finish", Mock(side_effect=ExportError("a plug was pulled")))
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


def test_genes_alone_bring_no_graph(small_h5ad: Path, tmp_path: Path) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(small_h5ad, target, genes_only=True, connectivities="connectivities")

    assert not check(target).connectivity_manifest


# Refusals


def resized(path: Path, shape: tuple[int, int]) -> Path:
    with h5py.File(path, "a") as file:
        graph = file["obsp/connectivities"]
        graph.attrs["shape"] = np.array(shape)
        indptr = np.resize(graph["indptr"][:], shape[0] + 1)
        indptr[41:] = indptr[min(40, shape[0])]
        del graph["indptr"]
        graph["indptr"] = indptr
    return path


@pytest.mark.parametrize("shape", [(40, 41), (41, 41), (30, 30)])
def test_a_graph_of_other_cells(small_h5ad: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    source = resized(small_h5ad, shape)

    with pytest.raises(RequestError, match=f"{shape[0]} x {shape[1]}, but there are 40 cells"):
        cellucid_dask.export(source, tmp_path / "export", connectivities="connectivities")

    assert not (tmp_path / "export").exists()


def test_an_unknown_graph(small_h5ad: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="'knn'; it has connectivities"):
        cellucid_dask.plan(small_h5ad, connectivities="knn")
    ran = run_command("export", small_h5ad, tmp_path / "export", "--connectivities", "knn")

    assert ran.returncode == 2
    assert "knn" in ran.stderr
    assert "connectivities" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "export").exists()


def test_data_without_graphs(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it has nothing"):
        cellucid_dask.export(small_anndata(extras=False), tmp_path / "e", connectivities="knn")


def test_a_graph_that_is_no_key(tmp_path: Path) -> None:
    adata = small_anndata()
    with pytest.raises(RequestError, match="name a matrix of obsp"):
        cellucid_dask.export(adata, tmp_path / "e", connectivities=adata.obsp["connectivities"])


def test_a_graph_of_no_numbers(tmp_path: Path) -> None:
    adata = kept_as(np.eye(3, dtype=complex))
    with pytest.raises(RequestError, match="complex128"):
        cellucid_dask.export(adata, tmp_path / "e", connectivities="graph")


def test_a_source_that_cannot_be_read_is_not_the_targets_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Mock(side_effect=OSError("the disk is gone"))
    monkeypatch.setattr("cellucid_dask.engine.edges.edge_keys", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        cellucid_dask.export(kept_as(neighbors(9, 2)), tmp_path / "e", connectivities="graph")

    assert not (tmp_path / "e" / "connectivity").exists()


def test_a_damaged_graph(small_h5ad: Path, tmp_path: Path) -> None:
    with h5py.File(small_h5ad, "a") as file:
        file["obsp/connectivities/indices"][0] = 4_000
    with pytest.raises(ExportError, match="damaged"):
        cellucid_dask.export(small_h5ad, tmp_path / "e", connectivities="connectivities")

    assert not (tmp_path / "e" / "dataset_identity.json").exists()


def test_by_the_command_line(small_h5ad: Path, tmp_path: Path) -> None:
    for key in ("connectivities", "none"):
        ran = run_command("export", small_h5ad, tmp_path / key, "--connectivities", key)
        assert ran.returncode == 0, ran.stderr
        assert bool(check(tmp_path / key).connectivity_manifest) == (key != "none")
    assert_edges(
        read_export(tmp_path / "connectivities"),
        ad.read_h5ad(small_h5ad).obsp["connectivities"],
    )
