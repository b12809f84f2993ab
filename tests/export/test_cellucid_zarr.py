"""The format cellucid-zarr: an AnnData that lies gene after gene, as Cellucid itself writes it."""

from __future__ import annotations

import itertools
import json
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError
from cellucid_dask.format import checksums
from tests.export.crashes import crash, moments
from tests.export.refusing import refused
from tests.helpers import SETTINGS, small_anndata, tree_bytes, write_h5ad, write_zarr
from tests.ready import ABOUT, RECORDED, metadata, ready_anndata

ZARR: dict[str, Any] = {**SETTINGS, "format": "cellucid-zarr"}
N_CELLS, N_GENES = 5000, 150


@contextmanager
def without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # what anndata 0.13 asks pandas for, whatever it reads
        warnings.filterwarnings("ignore", "The '.*' option is deprecated", DeprecationWarning)
        yield


def read(target: Path) -> ad.AnnData:
    with without_warnings():
        return ad.read_zarr(target)


def text_as_objects(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts have the dtype that pandas gave them before version 3."""
    texts = [key for key, dtype in table.dtypes.items() if isinstance(dtype, pd.StringDtype)]
    return table.astype(dict.fromkeys(texts, object))


def plain(matrix: Any) -> Any:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def export(source: Any, target: Path, **options: Any) -> cellucid_dask.ExportResult:
    return cellucid_dask.export(source, target, **{**ZARR, **options})


def test_metadata_is_that_of_cellucid(target: Path) -> None:
    export(
        ready_anndata(), target, connectivities="connectivities", source_citation="We, 2026",
        **ABOUT,
    )  # fmt: skip
    expected = json.loads(RECORDED.read_text())
    found = metadata(target)
    ours = {path for path in found if path.startswith("uns/cellucid_dask/")}
    assert found.keys() - ours == expected.keys()
    assert {path: found[path] for path in expected} == expected


def test_values_are_those_of_the_source(target: Path) -> None:
    adata = ready_anndata()
    export(adata, target, connectivities="connectivities", **ABOUT)
    found = read(target)
    assert (found.X != adata.X).nnz == 0
    assert found.X.format == "csc"
    assert found.X.dtype == np.float32
    adata.obs["sample"] = pd.Categorical(adata.obs["sample"])
    pd.testing.assert_frame_equal(found.obs, text_as_objects(adata.obs), check_index_type=False)
    pd.testing.assert_frame_equal(found.var, text_as_objects(adata.var), check_index_type=False)
    for key, values in adata.obsm.items():
        np.testing.assert_array_equal(found.obsm[key], values.astype(np.float32))
    expected = adata.obsp["connectivities"].astype(np.float32)
    assert (found.obsp["connectivities"] != expected).nnz == 0
    assert found.uns["title"] == found.uns["cellucid"]["name"] == "Cells"
    assert "citation" not in found.uns["cellucid"]
    with without_warnings():
        lazy = ad.experimental.read_lazy(target)
    assert (lazy.X.compute() != adata.X).nnz == 0


def _adata(matrix: Any) -> ad.AnnData:
    return ad.AnnData(
        matrix,
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(matrix.shape[0])]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(matrix.shape[1])]),
        obsm={"X_umap": np.ones((matrix.shape[0], 2), np.float32)},
    )


def _sources(matrix: Any, folder: Path) -> dict[str, tuple[Any, str]]:
    """Return sources of one matrix, and a memory budget each: every route in many blocks."""
    csr, csc, whole = (
        write_h5ad(_adata(each), folder / f"{name}.h5ad")
        for name, each in {
            "csr": matrix, "csc": matrix.tocsc(), "dense": matrix.toarray()
        }.items()
    )  # fmt: skip
    stored = write_zarr(_adata(matrix), folder / "csr.zarr")
    lazy = [
        da.from_array(matrix.toarray(), chunks=chunks) for chunks in ((N_CELLS, 37), (1000, 60))
    ]
    return {
        "scratch": (csr, "8MiB"), "one block": (stored, "1GiB"), "direct": (csc, "6MiB"),
        "dense": (whole, "8MiB"), "dask columns": (_adata(lazy[0]), "1GiB"),
        "dask blocks": (_adata(lazy[1].map_blocks(sparse.csr_matrix)), "1GiB"),
    }  # fmt: skip


@pytest.mark.parametrize(("density", "kind"), [(0.3, "csc"), (0.7, "dense"), (0.0001, "csc")])
def test_bytes_are_the_same_by_every_route(tmp_path: Path, density: float, kind: str) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, density, "csr", np.float32, random_state=1)
    trees, routes = {}, set()
    for name, (source, budget) in _sources(matrix, tmp_path).items():
        target = tmp_path / f"{name} out"
        plan = cellucid_dask.plan(source, format="cellucid-zarr", memory_budget=budget)
        export(source, target, memory_budget=budget)
        routes.add((plan.route, len(plan.encode_blocks) > 1))
        trees[name] = tree_bytes(target)
    assert len({json.dumps(sorted(tree)) for tree in trees.values()}) == 1
    assert len({tuple(tree.values()) for tree in trees.values()}) == 1
    assert density < 0.1 or {("scratch", True), ("direct", True), ("direct", False)} <= routes
    found = read(target).X
    assert (found.format if sparse.issparse(found) else "dense") == kind
    np.testing.assert_array_equal(plain(found), matrix.toarray())


@pytest.mark.parametrize("density", [0.4, 0.8])
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_genes_in_an_order_of_their_own(tmp_path: Path, form: str, density: float) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, density, form, np.float32, random_state=2)
    source = write_h5ad(_adata(matrix), tmp_path / "a.h5ad")
    genes = [*(f"gene{i}" for i in (70, 3, 4, 5, 149, 0)), *(f"gene{i}" for i in range(80, 130))]
    export(source, tmp_path / "out", gene_identifiers=genes, memory_budget="8MiB")
    found = read(tmp_path / "out")
    assert list(found.var_names) == genes
    expected = matrix.toarray()[:, [int(gene[4:]) for gene in genes]]
    np.testing.assert_array_equal(plain(found.X), expected)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_zeros_are_dropped_and_duplicates_summed(tmp_path: Path, form: str) -> None:
    source = tmp_path / "a.zarr"
    adata = _adata(sparse.csr_matrix(np.eye(4, 4, dtype=np.float32)).asformat(form))
    write_zarr(adata, source, version=2)
    group = zarr.open_group(source, mode="a")["X"]
    # two lines with a zero, a negative zero, an entry that comes twice, and two that cancel
    arrays = {
        "data": np.array([0, 2, -0.0, 1, 3, 5, -5], np.float32),
        "indices": np.array([0, 3, 1, 2, 2, 0, 0], np.int32),
        "indptr": np.array([0, 2, 7, 7, 7], np.int32),
    }
    for name, values in arrays.items():
        attributes = dict(group[name].attrs)
        del group[name]
        group.create_array(name, data=values).attrs.update(attributes)
    zarr.consolidate_metadata(source)
    export(source, tmp_path / "out")
    expected = np.zeros((4, 4), np.float32)
    expected[0, 3], expected[1, 2] = 2, 4
    found = read(tmp_path / "out").X
    np.testing.assert_array_equal(found.toarray(), expected if form == "csr" else expected.T)
    assert found.nnz == 2
    assert found.has_canonical_format


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float64", "bool"])
def test_values_of_other_types(target: Path, dtype: str) -> None:
    adata = small_anndata(dtype=dtype)
    export(adata, target)
    found = read(target).X
    assert found.dtype == np.float32
    np.testing.assert_array_equal(plain(found), plain(adata.X).astype(np.float32))


@pytest.mark.parametrize("layer", ["raw", "doubled"])
def test_raw_and_layers(target: Path, layer: str) -> None:
    adata = small_anndata(form="csc")
    export(adata, target, layer=layer)
    expected = adata.raw.X if layer == "raw" else adata.layers[layer]
    names = adata.raw.var_names if layer == "raw" else adata.var_names
    found = read(target)
    np.testing.assert_array_equal(plain(found.X), plain(expected).astype(np.float32))
    assert list(found.var_names) == list(names)
    assert found.uns["cellucid_dask"]["layer"] == layer


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_normalized_counts(target: Path, form: Any) -> None:
    adata = small_anndata(dtype="int32", form=form)
    export(adata, target, normalize="log1p-cp10k")
    counts = plain(adata.X).astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    expected = np.log1p(counts / np.where(totals, totals, 1) * 1e4)
    np.testing.assert_allclose(plain(read(target).X), expected, rtol=1e-6)


def test_genes_named_by_a_column(target: Path) -> None:
    adata = small_anndata()
    export(adata, target, var_gene_id_column="symbol", gene_identifiers=["symbol-gene3"])
    found = read(target)
    assert list(found.var_names) == ["gene3"]
    assert found.uns["cellucid"]["defaults"]["geneIdColumn"] == "symbol"


def test_what_is_shown(tmp_path: Path) -> None:
    adata = small_anndata()
    adata.obsm["X_other"] = adata.obsm["X_pca"][:, :3]
    export(adata, tmp_path / "own")
    assert "defaults" not in read(tmp_path / "own").uns["cellucid"]
    export(adata, tmp_path / "named", embeddings=["X_other", "X_pca:1,0"])
    found = read(tmp_path / "named")
    assert sorted(found.obsm) == ["X_other", "X_pca"]
    defaults = found.uns["cellucid"]["defaults"]
    assert defaults["embedding3d"] == "X_other"
    assert defaults["embedding2d"]["key"] == "X_pca"
    assert list(defaults["embedding2d"]["columns"]) == [1, 0]


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_values_that_are_no_numbers_are_refused(target: Path, form: Any) -> None:
    adata = small_anndata(form=form)
    matrix = plain(adata.X)
    matrix[3, 5], matrix[4, 5], matrix[9, 0] = np.nan, np.inf, -np.inf
    adata.X = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[form](
        matrix
    )
    words = r"X holds 3 NaN or infinite values in 2 genes \(gene0, gene5\).*layer.*compact_v1"
    with pytest.raises(ExportError, match=words):
        export(adata, target)
    assert not (target / ".zmetadata").exists()
    export(adata, target, force=True, gene_identifiers=["gene1", "gene2"])
    assert read(target).shape == (40, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_older_export_stays_where_values_are_refused(tmp_path: Path, value: float) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, 0.3, "csr", np.float32, random_state=5)
    target = tmp_path / "out"
    export(_adata(matrix), target)
    before = tree_bytes(target)
    matrix.data[-9:-6] = value
    sources = _sources(matrix, tmp_path)
    for source, budget in sources.values():
        with pytest.raises(ExportError, match="X holds 3 NaN or infinite values"):
            export(source, target, force=True, memory_budget=budget)
        assert tree_bytes(target) == before
    counts = sparse.csr_matrix(np.ones((N_CELLS, 2), np.int64))
    counts.data[-1] = -1
    with pytest.raises(ExportError, match="cannot be normalized"):
        export(_adata(counts), target, force=True, normalize="log1p-cp10k")
    assert tree_bytes(target) == before


@pytest.mark.parametrize("density", [0.2, 0.7])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_counts_beyond_float32_are_kept_by_every_route(
    tmp_path: Path, dtype: str, density: float
) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, density, "csr", np.float32, random_state=3)
    matrix = (matrix * 100).ceil().astype(dtype)
    matrix.data[matrix.nnz // 2 :: 997] = 2**24 + 1  # not in all blocks
    trees = {}
    for name, (source, budget) in _sources(matrix, tmp_path).items():
        limit = budget if budget == "1GiB" else "24MiB"
        export(source, tmp_path / name, memory_budget=limit)
        trees[name] = tree_bytes(tmp_path / name)
    assert len({tuple(tree.values()) for tree in trees.values()}) == 1
    found = read(tmp_path / name).X
    assert found.dtype == np.float64
    assert sparse.issparse(found) == (density < 0.5)
    np.testing.assert_array_equal(plain(found), matrix.toarray())
    assert cellucid_dask.verify(tmp_path / name, source, progress=False).ok
    gene = cellucid_dask.open_export(tmp_path / name).gene("gene7")
    np.testing.assert_array_equal(gene, matrix[:, [7]].toarray()[:, 0])


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [2**24, -(2**24)]),
        ("float64", [2**24 + 1, 0.5]),  # no counts
        ("float32", [2**24 + 2, 3]),  # float32 already
    ],
)
def test_what_float32_represents_is_float32(target: Path, dtype: str, values: list[float]) -> None:
    for form in ("csr", "dense"):
        adata = small_anndata(form=form, dtype=dtype)
        changed = plain(adata.X)
        changed[2, 3:5] = values
        adata.X = sparse.csr_matrix(changed) if form == "csr" else changed
        export(adata, target, force=True)
        found = read(target).X
        assert found.dtype == np.float32
        np.testing.assert_array_equal(plain(found), changed.astype(np.float32))


def test_large_counts_of_genes_that_are_not_chosen_do_not_matter(target: Path) -> None:
    adata = small_anndata(dtype="int64", form="dense")
    adata.X[2, 3] = 2**40
    export(adata, target, gene_identifiers=["gene0", "gene4"])
    assert read(target).X.dtype == np.float32
    export(adata, target, gene_identifiers=["gene3"], force=True)
    assert read(target).X.dtype == np.float64


def test_counts_beyond_float64_are_refused(target: Path) -> None:
    adata = small_anndata(dtype="int64", form="dense")
    adata.X[2, 3] = 2**60
    with pytest.raises(ExportError, match="whole numbers up to 1,152,921,504,606,84"):
        export(adata, target)


@pytest.mark.parametrize("density", [0.3, 0.8])
def test_large_counts_are_resumed_and_joined(tmp_path: Path, density: float) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, density, "csr", np.float32, random_state=4)
    matrix = (matrix * 100).ceil().astype("int64")
    matrix.data[0] = 2**31
    source = write_h5ad(_adata(matrix), tmp_path / "a.h5ad")
    export(source, tmp_path / "whole", memory_budget="24MiB")
    options = {"memory_budget": "24MiB", "format": "cellucid-zarr"}
    for number in (12, 20, 26):
        target = tmp_path / str(number)
        assert crash(source, target, number, **options)
        assert not (target / ".zmetadata").exists()
        export(source, target, resume=True, memory_budget="24MiB")
        assert tree_bytes(target) == tree_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    "options",
    [{"var_quantization": 16}, {"compression": 3}, {"latent": "X_pca"}, {"genes_only": True}],
)
def test_options_without_a_meaning_are_refused(target: Path, options: dict[str, Any]) -> None:
    refused(small_anndata(), target, f"no use for {next(iter(options))}", **ZARR, **options)


def test_graphs_that_are_not_symmetric_are_refused(target: Path) -> None:
    adata = ready_anndata()
    weights = adata.obsp["connectivities"]
    weights.data[0] += 1e-3
    for values in (weights, weights.tocsc(), weights.toarray()):
        adata.obsp["connectivities"] = values
        with pytest.raises(cellucid_dask.RequestError, match="is not symmetric"):
            export(adata, target, connectivities="connectivities", force=True)


@pytest.mark.parametrize("form", ["csr", "csc", "array"])
def test_graphs_of_any_storage(target: Path, form: str) -> None:
    adata = ready_anndata()
    expected = adata.obsp["connectivities"].astype(np.float32)
    looped = adata.obsp["connectivities"] + sparse.identity(adata.n_obs)
    adata.obsp["connectivities"] = looped.toarray() if form == "array" else looped.asformat(form)
    export(adata, target, connectivities="connectivities")
    assert (read(target).obsp["connectivities"] != expected).nnz == 0


def test_other_stores_are_left_alone(tmp_path: Path) -> None:
    adata = small_anndata()
    other = write_zarr(adata, tmp_path / "other.zarr", version=2)
    before = tree_bytes(other)
    for options in ({}, {"force": True}):
        with pytest.raises(cellucid_dask.RequestError, match="another location"):
            export(adata, other, **options)
    assert tree_bytes(other) == before
    cellucid_dask.export(adata, tmp_path / "compact", **SETTINGS)
    with pytest.raises(cellucid_dask.RequestError, match="contains an export as compact_v1"):
        export(adata, tmp_path / "compact", force=True)


def test_a_new_export_replaces_an_older_one(tmp_path: Path) -> None:
    matrix = sparse.random(N_CELLS, N_GENES, 0.3, "csr", np.float32, random_state=3)
    export(_adata(matrix), tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    small = small_anndata()
    with pytest.raises(cellucid_dask.RequestError, match="already contains an export"):
        export(small, tmp_path / "out")
    export(small, tmp_path / "out", force=True)
    export(small, tmp_path / "alone")
    expected = tree_bytes(tmp_path / "alone") | {"notes.txt": b"mine"}
    assert tree_bytes(tmp_path / "out") == expected


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_stopped_at_any_write(tmp_path: Path, form: str) -> None:
    matrix = sparse.random(N_CELLS, 60, 0.5, form, np.float32, random_state=4)
    source = write_h5ad(_adata(matrix), tmp_path / "a.h5ad")
    export(source, tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    numbers = itertools.count()

    def run(at: int) -> bool:
        target = tmp_path / str(next(numbers))
        died = crash(source, target, at, format="cellucid-zarr", memory_budget="6MiB")
        if died and not (target / ".zmetadata").exists():
            export(source, target, resume=True)
        if (target / ".zmetadata").exists():
            assert tree_bytes(target).items() >= whole.items()
        return died

    assert moments(run, step=9) > 60


def test_a_complete_export_is_resumed_without_work(tmp_path: Path) -> None:
    adata, target = ready_anndata(), tmp_path / "out"
    options = {"resume": True, "connectivities": "connectivities"}
    assert not export(adata, target, **options).was_complete
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    stored = write_zarr(adata, tmp_path / "a.zarr")
    for source in (adata, write_h5ad(adata, tmp_path / "a.h5ad"), stored):
        result = export(source, target, **options, memory_budget="64MiB", page=True)
        assert result.was_complete
        assert (result.n_cells, result.n_genes, result.n_objects) == (60, 8, 0)
    file = target / "checksums.sha256"
    sums = checksums.parse(file.read_bytes())
    for name in ("obs/score/0", "obsm/X_umap/0.0"):  # as another version of zlib writes them
        data = zlib.compress(zlib.decompress((target / name).read_bytes()), 1)
        assert sums[name] != checksums.sha256(data)
        (target / name).write_bytes(data)
        sums[name] = checksums.sha256(data)
    file.write_bytes(checksums.to_text(sums))
    assert export(adata, target, **options).was_complete
    assert {path for path in before if path.exists()} == set(target.rglob("*"))


def _points(adata: ad.AnnData) -> None:
    adata.obsm["X_umap"][7] += 1


OTHERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "name": (None, {"dataset_name": "Other"}, "with another name"),
    "layer": (None, {"layer": "doubled"}, "with another layer"),
    "normalized": (None, {"normalize": "log1p-cp10k"}, "with another normalize"),
    "graph": (None, {"connectivities": "connectivities"}, "with another connectivities"),
    "genes": (None, {"gene_identifiers": ["gene3"]}, r"other data \(the genes are others\)"),
    "columns": (None, {"obs_keys": ["score"]}, r"other data \(obs/\w+ does not match"),
    "embedding": (None, {"embeddings": ["X_pca:0,1"]}, "with another defaults"),
    "values": (lambda adata: adata.X.__imul__(3), {}, "X: .* values of 'gene0' do not match"),
    "points": (_points, {}, "obsm/X_umap does not match"),
    "column": (lambda adata: adata.obs.__setitem__("depth", 7), {}, "obs/depth does not match"),
    "cells": (lambda adata: setattr(adata, "obs_names", adata.obs_names[::-1]), {}, "cells are"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_complete_export_of_another_request(target: Path, kind: str) -> None:
    change, options, words = OTHERS[kind]
    adata = small_anndata(dtype="int32")
    export(adata, target)
    before = tree_bytes(target)
    if change is not None:
        change(adata)
    with pytest.raises(cellucid_dask.RequestError, match=f"{words}.*nothing to resume.*force"):
        export(adata, target, resume=True, **options)
    assert tree_bytes(target) == before


@pytest.mark.parametrize("path", ["X/data/0", "obs/score/.zattrs", "obsm/X_umap/0.0"])
def test_a_complete_export_that_lost_a_file(target: Path, path: str) -> None:
    export(small_anndata(), target)
    (target / path).unlink()
    with pytest.raises(cellucid_dask.RequestError, match=f"damaged.*{path} is missing.*force"):
        export(small_anndata(), target, resume=True)


def test_resuming_leaves_other_stores_alone(tmp_path: Path) -> None:
    other = write_zarr(small_anndata(), tmp_path / "other.zarr", version=2)
    before = tree_bytes(other)
    with pytest.raises(cellucid_dask.RequestError, match="another location"):
        export(small_anndata(), other, resume=True)
    assert tree_bytes(other) == before
