"""Damaged files are refused, in words that say which element and what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError
from tests.export.refusing import refused
from tests.helpers import SETTINGS, dense, small_anndata, write_h5ad, write_zarr
from tests.viewer_reader import assert_gene, check


def put(group: Any, name: str, values: Any) -> None:
    """Write an array in place of another."""
    attributes = dict(group[name].attrs)
    del group[name]
    if isinstance(group, h5py.Group):
        group.create_dataset(name, data=values)
    else:
        group.create_array(name, data=values)
    group[name].attrs.update(attributes)


def too_short(group: Any) -> None:
    put(group, "indptr", group["indptr"][:-5])


def too_long(group: Any) -> None:
    pointers = group["indptr"][:]
    put(group, "indptr", np.append(pointers, pointers[-1]))


def late_start(group: Any) -> None:
    pointers = group["indptr"][:]
    pointers[0] = 5
    put(group, "indptr", pointers)


def falling(group: Any) -> None:
    pointers = group["indptr"][:]
    pointers[3] = pointers[6] + 1
    put(group, "indptr", pointers)


def early_end(group: Any) -> None:
    pointers = group["indptr"][:]
    pointers[-1] -= 3
    put(group, "indptr", pointers)


def few_values(group: Any) -> None:
    put(group, "data", group["data"][:-2])


def few_indices(group: Any) -> None:
    put(group, "indices", group["indices"][:-2])


DAMAGE = [too_short, too_long, late_start, falling, early_end, few_values, few_indices]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_pointers(tmp_path: Path, damage: Callable[[Any], None], form: Any, suffix: str) -> None:
    adata, path = small_anndata(form=form), tmp_path / f"a{suffix}"
    if suffix == ".h5ad":
        with h5py.File(write_h5ad(adata, path), "a") as file:
            damage(file["layers/doubled"])
    else:
        damage(zarr.open_group(write_zarr(adata, path), use_consolidated=False)["layers/doubled"])
    words = refused(path, tmp_path / "out", "damaged", layer="doubled", genes_only=True)
    assert words.startswith(f"layers/doubled of a{suffix} is damaged: ")


@pytest.mark.parametrize("index", [-1, 12, 10_000])
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_indices(tmp_path: Path, index: int, form: Any, suffix: str) -> None:
    adata, path = small_anndata(form=form, extras=False), tmp_path / f"a{suffix}"
    index += 28 * (form == "csc") * (index > 0)

    def damage(group: Any) -> None:
        indices = group["indices"][:]
        indices[7] = index
        put(group, "indices", indices)

    if suffix == ".h5ad":
        with h5py.File(write_h5ad(adata, path), "a") as file:
            damage(file["X"])
    else:
        damage(zarr.open_group(write_zarr(adata, path), use_consolidated=False)["X"])
    with pytest.raises(ExportError, match=rf"^X of a{suffix} is damaged: it has indices"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)
    assert not (tmp_path / "out/dataset_identity.json").exists()


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_in_memory(tmp_path: Path, form: Any) -> None:
    adata = small_anndata(form=form, extras=False)
    adata.X.indptr[3] = adata.X.indptr[6] + 1
    refused(adata, tmp_path / "out", "^Expression is damaged: its pointers fall")
    adata = small_anndata(form=form, extras=False)
    adata.X.indices[3] = 50
    with pytest.raises(ExportError, match=r"^Expression is damaged: it has indices"):
        cellucid_dask.export(adata, tmp_path / "out", **SETTINGS)


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_scipy_may_keep_room_for_more(tmp_path: Path, form: Any) -> None:
    """Not damage: only so many values as the last pointer says are of the matrix."""
    adata = small_anndata(form=form, extras=False)
    expected = dense(adata.X)
    kind = sparse.csr_matrix if form == "csr" else sparse.csc_matrix
    roomy = kind(adata.X.shape, dtype=np.float32)
    roomy.data = np.append(adata.X.data, [7, 7]).astype(np.float32)
    roomy.indices = np.append(adata.X.indices, [0, 0]).astype(np.int32)
    roomy.indptr = adata.X.indptr
    adata.X = roomy
    cellucid_dask.export(adata, tmp_path / "out", **SETTINGS)
    export = check(tmp_path / "out")
    for gene, values in zip(export.genes, expected.T, strict=True):
        assert_gene(export, gene, values, 8)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_graph_and_embedding(tmp_path: Path, suffix: str) -> None:
    adata, path = small_anndata(), tmp_path / f"a{suffix}"
    adata.obsm["X_tsne"] = sparse.csr_matrix(adata.obsm["X_umap"])
    if suffix == ".h5ad":
        file: Any = h5py.File(write_h5ad(adata, path), "a")
    else:
        file = zarr.open_group(write_zarr(adata, path), use_consolidated=False)
    too_short(file["obsp/connectivities"])
    too_short(file["obsm/X_tsne"])
    if suffix == ".h5ad":
        file.close()
    target = tmp_path / "out"
    refused(path, target, "^obsp/connectivities .*damaged", connectivities="connectivities")
    refused(path, target, "^obsm/X_tsne .*damaged", embeddings=["X_tsne"])
    cellucid_dask.export(path, target, embeddings=["X_umap"], **SETTINGS)


# Chunks and filters


def spoil(path: Path, name: str) -> None:
    """Overwrite the middle of the second chunk of a data set."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        raw.write(b"\xff" * 8)


@pytest.mark.parametrize("options", [{}, {"fletcher32": True}])
def test_damaged_chunk(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_h5ad(small_anndata(form="dense"), tmp_path / "a.h5ad")
    values = np.random.default_rng(0).random((40, 12))
    with h5py.File(path, "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", data=values, chunks=(10, 12), compression="gzip", **options)
        file["X"].attrs.update(attributes)
    spoil(path, "X")
    with pytest.raises(ExportError, match=r"a\.h5ad is damaged.*/X from .*create the file again"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)


def test_damaged_zarr_chunk(tmp_path: Path) -> None:
    path = write_zarr(small_anndata(form="dense"), tmp_path / "a.zarr", chunks=(10, 12))
    chunk = path / "X/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(ExportError, match=r"^X of a\.zarr is damaged: rows .*create it again"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)


def with_filter(path: Path, name: str, number: int) -> None:
    """Rewrite an array as compressed by a filter that may not be there."""
    with h5py.File(path, "a") as file:
        values, attributes = file[name][:], dict(file[name].attrs)
        del file[name]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(values.shape)
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (3,))
        kind, space = h5py.h5t.py_create(values.dtype), h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(file.id, name.encode(), kind, space, plist)
        dataset.write_direct_chunk((0,) * values.ndim, values.tobytes())
        file[name].attrs.update(attributes)


@pytest.mark.parametrize(("number", "name"), [(32015, "zstd"), (32026, "blosc2"), (501, "unknown")])
@pytest.mark.parametrize("element", ["X", "obsm/X_umap"])
def test_missing_filter(tmp_path: Path, number: int, name: str, element: str) -> None:
    if h5py.h5z.filter_avail(number):
        pytest.skip(f"the filter {name} is installed")
    path = write_h5ad(small_anndata(form="dense"), tmp_path / "a.h5ad")
    with_filter(path, element, number)
    words = refused(path, tmp_path / "out", rf"^{element} of a.h5ad is compressed with .*{name}")
    assert str(number) in words
    assert "hdf5plugin" in words
    if element == "X":
        refused(ad.read_h5ad(path, backed="r"), tmp_path / "out", name)


def test_column_with_a_missing_filter_is_left_out(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with_filter(path, "obs/score", 501)
    with pytest.warns(cellucid_dask.ExportWarning, match=r"obs/score of a\.h5ad .*501.*skipped"):
        cellucid_dask.export(path, tmp_path / "out", **SETTINGS)
    assert set(check(tmp_path / "out").obs) == {"cell_type", "doublet", "sample", "depth"}
    refused(path, tmp_path / "new", "obs/score .*501", obs_keys=["score"])


def test_package_that_brings_filters_is_used(tmp_path: Path) -> None:
    """It is imported in the process that opens the file."""
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    (tmp_path / "hdf5plugin.py").write_text("print('filters are here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += f"import cellucid_dask; cellucid_dask.plan({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "filters are here" in done.stdout


def test_file_that_another_process_writes(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    code = f"import h5py; file = h5py.File({str(path)!r}, 'a'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        refused(path, tmp_path / "out", r"a\.h5ad is being written by another program")
        writer.communicate(b"\n")
    cellucid_dask.export(path, tmp_path / "out", **SETTINGS)


@pytest.mark.parametrize("table", ["obs", "var"])
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize("name", ["an empty group", "a scalar"])
def test_names_of_rows_that_are_no_array(
    tmp_path: Path, target: Path, table: str, kind: str, name: str
) -> None:
    path = tmp_path / f"a.{kind}"
    (write_h5ad if kind == "h5ad" else write_zarr)(small_anndata(), path)
    file = (
        h5py.File(path, "a")
        if kind == "h5ad"
        else zarr.open_group(path, mode="a", use_consolidated=False)
    )
    if name == "a scalar":
        put(file[table], "_index", np.float32(7))
    else:
        del file[table]["_index"]
        file[table].create_group("_index")
    if isinstance(file, h5py.File):
        file.close()
    refused(path, target, rf"{table}/_index of a\.{kind} cannot be read")
