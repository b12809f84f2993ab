"""The neighbor graph of an export: its manifest, what goes with it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import anndata as ad
import h5py
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError, RequestError
from cellucid_dask.store.target import Target
from tests.graphs import assert_edges, kept_as, neighbors
from tests.helpers import run_command, small_anndata
from tests.viewer_reader import check, read_export

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

    assert published[-4:] == [
        "connectivity_manifest.json", "obs_manifest.json", "checksums.sha256",
        "dataset_identity.json",
    ]  # fmt: skip


def test_force_takes_an_older_graph_away(small_h5ad: Path, tmp_path: Path) -> None:
    cellucid_dask.export(small_h5ad, tmp_path / "export", connectivities="connectivities")
    cellucid_dask.export(small_h5ad, tmp_path / "export", force=True)

    assert not check(tmp_path / "export").connectivity_manifest


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
    with pytest.raises(RequestError, match="connectivities is of type csr_matrix: give one name"):
        cellucid_dask.export(adata, tmp_path / "e", connectivities=adata.obsp["connectivities"])


def test_a_graph_of_no_numbers(tmp_path: Path) -> None:
    adata = kept_as(np.eye(3, dtype=complex))
    with pytest.raises(RequestError, match="complex128"):
        cellucid_dask.export(adata, tmp_path / "e", connectivities="graph")


def test_a_source_that_cannot_be_read_is_not_the_targets_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Mock(side_effect=OSError("the disk is gone"))
    monkeypatch.setattr("cellucid_dask.output.compact_v1.edges.edge_keys", failing)
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
