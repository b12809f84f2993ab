"""Files of several data sets, and files of other programs: opened, or the way on is said."""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import h5py
import numpy as np
import pytest
import zarr

import cellucid_dask
from cellucid_dask import ExportWarning
from tests.export.refusing import refused
from tests.helpers import SETTINGS, dense, run_command, small_anndata, write_h5ad, write_zarr
from tests.viewer_reader import assert_gene, check


def mudata(path: Path) -> Path:
    """Write what MuData would: two modalities, and masks of their cells."""
    rna, atac = small_anndata(extras=False), small_anndata(extras=False, seed=9)
    root: Any = h5py.File(path, "w") if path.suffix == ".h5mu" else zarr.open_group(path, mode="w")
    root.attrs["encoding-type"] = "MuData"
    ad.io.write_elem(root, "obs", rna.obs)
    ad.io.write_elem(root, "var", rna.var)
    ad.io.write_elem(root, "obsm", {"rna": np.ones((40, 1), bool), "X_umap": rna.obsm["X_umap"]})
    for name, each in {"rna": rna, "atac": atac}.items():
        ad.io.write_elem(root.require_group("mod"), name, each)
    if isinstance(root, h5py.File):
        root.close()
    return path


def spatialdata(path: Path, folder: str = "tables") -> Path:
    root = zarr.open_group(path, mode="w")
    root.attrs["spatialdata_attrs"] = {"version": "0.1"}
    root.create_group("images")
    for name, seed in {"table": 7, "other": 9}.items():
        adata = small_anndata(extras=False, seed=seed)
        ad.io.write_elem(root.require_group(folder), name, adata)
    return path


def assert_values(target: Path, adata: ad.AnnData) -> None:
    export = check(target)
    for gene, values in zip(export.genes, dense(adata.X).T, strict=True):
        assert_gene(export, gene, values, 8)


@pytest.mark.parametrize("name", ["a.h5mu", "a.zarr", "no_suffix.h5mu"])
def test_mudata(tmp_path: Path, name: str) -> None:
    path, target = mudata(tmp_path / name), tmp_path / "out"
    said = rf"{name} is MuData of mod/atac, mod/rna: choose one, as {name}#atac\.$"
    refused(path, target, said)
    refused(f"{path}#protein", target, said)
    refused(path, target, said, embeddings=["X_umap"])
    for part, seed in {"rna": 7, "atac": 9}.items():
        cellucid_dask.export(f"{path}#{part}", target / part, **SETTINGS)
        assert_values(target / part, small_anndata(seed=seed))
        assert cellucid_dask.verify(target / part, f"{path}#{part}").ok


@pytest.mark.parametrize("folder", ["tables", "table"])
def test_spatialdata(tmp_path: Path, folder: str) -> None:
    path, target = spatialdata(tmp_path / "s.zarr", folder), tmp_path / "out"
    said = rf"s.zarr is SpatialData of {folder}/other, {folder}/table: choose one, as s.zarr#other"
    refused(path, target, said)
    cellucid_dask.export(f"{path}#other", target, **SETTINGS)
    assert_values(target, small_anndata(seed=9))


def test_parts_in_a_store(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/a.h5mu"
    local = mudata(tmp_path / "a.h5mu")
    fsspec.filesystem("memory").put(str(local), url.removeprefix("memory:/"))
    refused(url, tmp_path / "out", "choose one, as a.h5mu#atac")
    cellucid_dask.export(f"{url}#atac", tmp_path / "out", **SETTINGS)
    assert_values(tmp_path / "out", small_anndata(seed=9))


def test_link_in_a_part(tmp_path: Path) -> None:
    path = mudata(tmp_path / "in.zarr")
    (path / "mod/rna/X").rename(tmp_path / "X")
    (path / "mod/rna/X").symlink_to(tmp_path / "X")
    refused(f"{path}#rna", tmp_path / "out", "^.*X.* is a link to .*allow.links")
    cellucid_dask.export(f"{path}#rna", tmp_path / "out", allow_links=True, **SETTINGS)
    assert_values(tmp_path / "out", small_anndata())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("base", [".", "a.zarr"])
def test_zipped_zarr(tmp_path: Path, version: Any, base: str) -> None:
    """The content of the folder, or the folder."""
    folder = write_zarr(small_anndata(), tmp_path / "a.zarr", version=version)
    root = folder if base == "." else tmp_path
    archive = Path(shutil.make_archive(str(folder), "zip", root, base))
    with pytest.warns(ExportWarning, match=r"a\.zarr\.zip is a zip archive, .*unpack it"):
        cellucid_dask.export(archive, tmp_path / "out", **SETTINGS)
    assert_values(tmp_path / "out", small_anndata())
    assert cellucid_dask.verify(tmp_path / "out", archive).ok


def test_zip_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_h5ad(small_anndata(), tmp_path / "in/a.h5ad")
    archive = Path(shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path / "in"))
    refused(archive, tmp_path / "out", "is a zip archive: unpack it with unzip")
    archive = archive.rename(tmp_path / "a.h5ad")
    refused(archive, tmp_path / "out", "unpack it with unzip")
    (tmp_path / "b.zarr.zip").write_bytes(b"no zip")
    refused(tmp_path / "b.zarr.zip", tmp_path / "out", "cannot be read as AnnData")


# The ways on


def packed(path: Path) -> bytes:
    return write_h5ad(small_anndata(extras=False), path.with_name("plain.h5ad")).read_bytes()


FILES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "a.h5ad.gz": ("with gzip: unpack it with gunzip", lambda p: gzip.compress(packed(p))),
    "a.h5ad": ("with bzip2: unpack it with bunzip2", lambda p: bz2.compress(packed(p))),
    "lfs.h5ad": ("git lfs pull", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha"),
    "page.h5ad": ("is a web page", lambda _: b"\n<!DOCTYPE html><html>Sign in</html>"),
    "a.rds": ("zellkonverter::writeH5AD", lambda _: gzip.compress(b"RDX3")),
    "matrix.mtx.gz": ("scanpy.read_10x_mtx", lambda _: gzip.compress(b"%%MatrixMarket")),
    "a.csv": ("anndata.io.read_csv", lambda _: b"a,b"),
    "a.tsv.gz": ("anndata.io.read_text", lambda _: gzip.compress(b"a\tb")),
    "empty.h5ad": ("cannot be read as AnnData", lambda _: b""),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_kind(tmp_path: Path, name: str) -> None:
    said, write = FILES[name]
    (tmp_path / name).write_bytes(write(tmp_path / name))
    assert name in refused(tmp_path / name, tmp_path / "out", said)


def ten_x(file: h5py.File) -> None:
    file["matrix/barcodes"] = [b"AAA"]
    file["matrix/features/name"] = [b"CD3D"]


def ten_x_v2(file: h5py.File) -> None:
    file["GRCh38/barcodes"] = [b"AAA"]
    file["GRCh38/gene_names"] = [b"CD3D"]


def loom(file: h5py.File) -> None:
    file["matrix"] = np.ones((2, 3))
    file["row_attrs/Gene"] = [b"CD3D"]
    file["col_attrs/CellID"] = [b"AAA"]


def seurat(file: h5py.File) -> None:
    file["assays/RNA/counts/data"] = [1.0]


def nothing(file: h5py.File) -> None:
    file["x"] = 1


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (ten_x, "scanpy.read_10x_h5 and write it with adata.write_h5ad"),
        (ten_x_v2, "scanpy.read_10x_h5"),
        (loom, "anndata.io.read_loom"),
        (seurat, "SeuratDisk::Convert"),
        (nothing, "has no obs and var"),
    ],
)
def test_hdf5_of_another_kind(tmp_path: Path, fill: Callable[[Any], None], said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        fill(file)
    refused(tmp_path / "a.h5", tmp_path / "out", rf"^a\.h5 is not AnnData: .*{said}")


def test_folder_of_cell_ranger(tmp_path: Path) -> None:
    folder = tmp_path / "filtered_feature_bc_matrix"
    folder.mkdir()
    (folder / "matrix.mtx.gz").touch()
    refused(folder, tmp_path / "out", "scanpy.read_10x_mtx")
    (folder / "matrix.mtx.gz").unlink()
    refused(folder, tmp_path / "out", "contains no AnnData")


# What is no file


def test_named_pipe_as_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.h5ad")
    refused(tmp_path / "p.h5ad", tmp_path / "out", "is neither a file nor a folder")


def test_named_pipe_behind_a_link(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(form="dense"), tmp_path / "a.h5ad")
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink("pipe", "X")
    refused(path, tmp_path / "out", "^X of a.h5ad is a link to .*pipe, which is not a file")


def test_named_pipe_as_list_of_genes(tmp_path: Path, small_h5ad: Path) -> None:
    os.mkfifo(tmp_path / "genes.txt")
    done = run_command("plan", small_h5ad, "--genes-file", tmp_path / "genes.txt")
    assert done.returncode == 2
    assert "genes.txt is a named pipe: write the names into a file" in done.stderr
