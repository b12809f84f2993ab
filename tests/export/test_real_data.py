"""Real data sets: every gene comes back within half a quantization step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr

import cellucid_dask
from tests.helpers import (
    SETTINGS,
    dense,
    expression,
    make_nullable,
    read_source,
    tree_bytes,
    write_h5ad,
    write_zarr,
)
from tests.viewer_reader import assert_gene, check

QUANTIZATIONS = [8, 16, None]

MATRICES = [
    ("pbmc68k_reduced.h5ad", "X"),
    ("pbmc68k_reduced.h5ad", "raw"),
    ("cellrank_200.h5ad", "X"),
    ("cellrank_200.h5ad", "raw"),
    ("cellrank_200.h5ad", "Ms"),
    ("cellrank_200.h5ad", "spliced"),
    ("cellrank_200.h5ad", "fit_t"),
    ("cellrank_200.h5ad", "velocity"),
    ("bruce_spatial.h5ad", "X"),
    ("scimap_protein.h5ad", "X"),
    ("scimap_protein.h5ad", "raw"),
    ("scimap_protein.h5ad", "log"),
    ("pbmc_small.h5ad", "X"),
    ("pbmc_small.h5ad", "raw"),
]
WITHOUT_EMBEDDING = [  # those of X in 8 bits are in `FILES`
    ("multimodal_sparse_obsm.h5ad", "X", 16),
    ("multimodal_sparse_obsm.h5ad", "X", None),
    ("scvelo_pancreas_50.h5ad", "spliced", 16),
    ("scvelo_pancreas_50.h5ad", "unspliced", None),
]


def assert_genes(target: Path, adata: ad.AnnData, layer: str, quantization: int | None) -> None:
    export = check(target)
    matrix, names = expression(adata, layer)
    assert export.genes == names
    for gene, values in zip(names, matrix.T, strict=True):
        assert_gene(export, gene, values, quantization)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize(("name", "layer"), MATRICES)
def test_every_gene(
    shared_data: Path, tmp_path: Path, name: str, layer: str, quantization: int | None
) -> None:
    source, target = shared_data / name, tmp_path / "export"

    cellucid_dask.export(source, target, layer=layer, var_quantization=quantization, **SETTINGS)

    adata = read_source(source)
    assert_genes(target, adata, layer, quantization)
    export = check(target)
    assert export.identity["created_at"] == SETTINGS["created_at"]
    assert export.n_cells == adata.n_obs
    assert set(export.obs) == set(adata.obs.columns)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer", "quantization"), WITHOUT_EMBEDDING)
def test_every_gene_without_cells(
    shared_data: Path, tmp_path: Path, name: str, layer: str, quantization: int | None
) -> None:
    source, target = shared_data / name, tmp_path / "export"

    cellucid_dask.export(
        source,
        target,
        layer=layer,
        var_quantization=quantization,
        genes_only=True,
        **SETTINGS,
    )

    assert_genes(target, read_source(source), layer, quantization)
    assert not (target / "obs_manifest.json").exists()


def test_local_path_may_be_text(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "pbmc_small.h5ad", tmp_path / "export"

    cellucid_dask.export(str(source), str(target), **SETTINGS)

    assert_genes(target, read_source(source), "X", 8)


@pytest.mark.parametrize("compression", [None, 1, 9])
def test_compression_changes_the_files_only(
    shared_data: Path, tmp_path: Path, compression: int | None
) -> None:
    source, target = shared_data / "pbmc68k_reduced.h5ad", tmp_path / "export"

    cellucid_dask.export(source, target, layer="raw", compression=compression)

    assert_genes(target, read_source(source), "raw", 8)
    compressed = {file.suffix == ".gz" for file in (target / "var").iterdir()}
    assert compressed == {compression is not None}


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_cell_metadata(shared_data: Path, tmp_path: Path, quantization: int | None) -> None:
    source, target = shared_data / "pbmc68k_reduced.h5ad", tmp_path / "export"

    cellucid_dask.export(source, target, obs_continuous_quantization=quantization)

    export, obs = check(target), read_source(source).obs
    for key in ("bulk_labels", "phase", "louvain"):
        assert export.categories(key) == list(obs[key].cat.categories)
        assert list(export.obs[key]) == list(obs[key])
    for key in ("n_genes", "percent_mito", "n_counts", "S_score", "G2M_score"):
        values = obs[key].to_numpy(np.float32)
        steps = np.inf if quantization is None else 2**quantization - 2
        tolerance = np.ptp(values) / steps / 2 + np.spacing(np.abs(values).max())
        np.testing.assert_allclose(export.obs[key], values, rtol=0, atol=tolerance)


def test_points_are_centred_and_scaled_together(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "pbmc68k_reduced.h5ad", tmp_path / "export"

    cellucid_dask.export(source, target)

    umap = read_source(source).obsm["X_umap"]
    low, high = umap.min(axis=0), umap.max(axis=0)
    expected = (umap - (low + high) / 2) * 2 / (high - low).max()
    np.testing.assert_allclose(check(target).points(2), expected, atol=1e-6)


def test_categorical_column_of_words(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "pbmc_small.h5ad", tmp_path / "export"

    cellucid_dask.export(source, target)

    export, groups = check(target), read_source(source).obs["groups"]
    assert export.categories("groups") == sorted(set(groups))
    assert list(export.obs["groups"]) == list(groups)


@pytest.mark.parametrize("embeddings", [None, ["umap"]])
def test_embedding_without_the_usual_prefix(
    shared_data: Path, tmp_path: Path, embeddings: list[str] | None
) -> None:
    target = tmp_path / "export"

    cellucid_dask.export(shared_data / "scimap_protein.h5ad", target, embeddings=embeddings)

    assert check(target).points(2).shape == (11_201, 2)


@pytest.mark.parametrize("name", ["scvelo_pancreas_50.h5ad", "multimodal_sparse_obsm.h5ad"])
def test_nothing_to_show_is_refused(shared_data: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "export"

    with pytest.raises(cellucid_dask.RequestError, match=r"obsm(.|\n)*genes[-_]only") as refusal:
        cellucid_dask.export(shared_data / name, target)

    assert all(key in str(refusal.value) for key in read_source(shared_data / name).obsm)
    assert not target.exists()


def test_genes_join_an_export_without_genes(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "pbmc_small.h5ad", tmp_path / "export"
    adata = read_source(source)
    without = ad.AnnData(obs=adata.obs, obsm=dict(adata.obsm))
    with pytest.warns(cellucid_dask.ExportWarning):
        cellucid_dask.export(without, target, **SETTINGS)

    cellucid_dask.export(source, target, genes_only=True)

    assert_genes(target, adata, "X", 8)
    assert check(target).identity["stats"]["n_genes"] == adata.n_vars


def test_duplicate_gene_names(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "10x-10k-subset.zarr", tmp_path / "export"
    remedy = r"make[-_]genes[-_]unique"

    with pytest.raises(cellucid_dask.RequestError, match=remedy):
        cellucid_dask.export(source, target, genes_only=True)
    assert not target.exists()

    adata = read_source(source)
    adata.var_names_make_unique()
    cellucid_dask.export(source, target, genes_only=True, make_genes_unique=True)
    assert_genes(target, adata, "X", 8)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_genes_named_by_a_column(
    shared_data: Path, tmp_path: Path, quantization: int | None
) -> None:
    source, target = shared_data / "10x-10k-subset.zarr", tmp_path / "export"

    cellucid_dask.export(
        source,
        target,
        genes_only=True,
        var_gene_id_column="gene_ids",
        var_quantization=quantization,
    )

    adata = read_source(source)
    adata.var_names = adata.var["gene_ids"].astype(str)
    assert_genes(target, adata, "X", quantization)
    assert check(target).var_manifest["var_gene_id_column"] == "gene_ids"


def test_no_expression(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "ventolab_no_x.h5ad", tmp_path / "export"

    with pytest.warns(cellucid_dask.ExportWarning, match="(?i)gene|expression|matrix") as warned:
        cellucid_dask.export(source, target)

    assert all("Traceback" not in str(each.message) for each in warned)
    export, adata = check(target), read_source(source)
    assert not (target / "var_manifest.json").exists()
    assert export.identity["stats"]["n_genes"] == 0
    assert list(export.obs["cell_labels"]) == list(adata.obs["cell_labels"])


# Every file: exported with these options, or refused in these words.
FILES: dict[str, tuple[str, dict[str, Any]] | str] = {
    "10x-10k-subset.zarr": ("X", {"genes_only": True, "make_genes_unique": True}),
    "10x_v3_filtered.h5": "is a Cell Ranger file, read it with scanpy.read_10x_h5",
    "anndata_0.7.8.zarr.zip": ("X", {"embeddings": ["array:3,4"]}),
    "bruce_spatial.h5ad": ("X", {}),
    "cellrank_200.h5ad": ("X", {}),
    "cellxgene_nan.h5ad": ("X", {}),
    "mudata_axis0.h5mu": "is MuData of mod/mod1, mod/mod2: choose one, as mudata_axis0.h5mu#mod1",
    "mudata_axis0.h5mu#mod1": ("X", {"genes_only": True}),
    "mudata_axis0.h5mu#mod2": ("X", {"genes_only": True}),
    "multimodal_sparse_obsm.h5ad": ("X", {"embeddings": ["mode2:0,7"]}),
    "pbmc68k_reduced.h5ad": ("X", {}),
    "pbmc_small.h5ad": ("X", {}),
    "scimap_protein.h5ad": ("X", {}),
    "scvelo_pancreas_50.h5ad": ("X", {"genes_only": True}),
    "spatialdata_blobs.zarr": "is SpatialData of tables/table, tables/table_points: choose one",
    "spatialdata_blobs.zarr#table": ("X", {"genes_only": True}),
    "ventolab_no_x.h5ad": ("", {}),
    "zellkonverter_example.h5ad": ("X", {}),
}


def read_any(path: Path, part: str, folder: Path) -> ad.AnnData:
    """Read what a path and ``#part`` name, as anndata does."""
    if path.suffix == ".zip":
        shutil.unpack_archive(path, folder / "a.zarr")
        return read_source(folder / "a.zarr")
    if not part:
        return read_source(path)
    file: Any = h5py.File(path) if path.suffix == ".h5mu" else zarr.open_group(path, mode="r")
    adata: ad.AnnData = ad.io.read_elem(file["mod" if path.suffix == ".h5mu" else "tables"][part])
    return adata


def test_no_file_is_forgotten(shared_data: Path) -> None:
    there = {each.name for each in shared_data.iterdir() if each.name != "README.md"}
    assert there <= {name.partition("#")[0] for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_exported_or_the_way_on(shared_data: Path, tmp_path: Path, name: str) -> None:
    source, target, wanted = f"{shared_data}/{name}", tmp_path / "export", FILES[name]
    if isinstance(wanted, str):
        with pytest.raises(cellucid_dask.RequestError, match=wanted):
            cellucid_dask.export(source, target)
        assert not target.exists()
        return
    layer, options = wanted

    cellucid_dask.export(source, target, **options, **SETTINGS)

    file, _, part = name.partition("#")
    adata = read_any(shared_data / file, part, tmp_path)
    adata.var_names_make_unique()
    assert check(target).n_cells == adata.n_obs
    if layer:
        assert_genes(target, adata, layer, 8)
    if "embeddings" in options:
        key, _, columns = options["embeddings"][0].partition(":")
        points = dense(adata.obsm[key])[:, [int(each) for each in columns.split(",")]]
        low, high = points.min(axis=0), points.max(axis=0)
        expected = (points - (low + high) / 2) * 2 / (high - low).max()
        np.testing.assert_allclose(check(target).points(2), expected, atol=1e-6)


def test_chosen_genes_in_the_given_order(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "pbmc68k_reduced.h5ad", tmp_path / "export"
    genes = ["TNFRSF4", "HES4", "SSU72"]

    cellucid_dask.export(source, target, gene_identifiers=genes)

    export, adata = check(target), read_source(source)
    assert export.genes == genes
    for gene in genes:
        assert_gene(export, gene, dense(adata[:, gene].X).ravel(), 8)


@pytest.mark.parametrize("output", ["compact_v1", "cellucid-zarr"])
@pytest.mark.parametrize("name", ["pbmc_small.h5ad", "ventolab_no_x.h5ad"])
def test_written_again_by_the_installed_anndata(
    shared_data: Path, tmp_path: Path, name: str, output: str
) -> None:
    """By any route the export is that of the file, which older versions wrote."""
    cellucid_dask.export(shared_data / name, tmp_path / "expected", format=output, **SETTINGS)
    adata, h5ad, store = read_source(shared_data / name), tmp_path / "a.h5ad", tmp_path / "a.zarr"
    with h5py.File(write_h5ad(adata, h5ad), "a") as file:
        make_nullable(file, "obs", "var")
    make_nullable(zarr.open_group(write_zarr(adata, store), use_consolidated=False), "obs", "var")
    backed = ad.read_h5ad(h5ad, backed="r")

    for source in (h5ad, store, read_source(h5ad), read_source(store), backed):
        target = tmp_path / "export"
        cellucid_dask.export(source, target, format=output, **SETTINGS)

        assert tree_bytes(target) == tree_bytes(tmp_path / "expected")
        if isinstance(source, Path):
            assert cellucid_dask.verify(target, source, progress=False).ok
        shutil.rmtree(target)
    backed.file.close()
