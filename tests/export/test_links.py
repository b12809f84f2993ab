"""Values in other files: right, or refused; a link out of the source's folder only if allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest

import cellucid_dask
from cellucid_dask import RequestError
from cellucid_dask.source import open_source
from tests.export.refusing import refused
from tests.helpers import SETTINGS, dense, read_source, small_anndata, write_h5ad, write_zarr
from tests.viewer_reader import assert_gene, check


def pair(tmp_path: Path, folder: str = ".", **options: Any) -> tuple[Path, Path]:
    """Write an h5ad file, and one of other values into a folder beside it."""
    (tmp_path / "in" / folder).mkdir(parents=True)
    other = small_anndata(seed=11, **options)
    other.uns["pad"] = np.arange(5000)  # so that nothing lies at the same place
    source = write_h5ad(small_anndata(**options), tmp_path / "in/a.h5ad")
    return source, write_h5ad(other, tmp_path / "in" / folder / "other.h5ad")


def relink(source: Path, path: str, link: Any) -> None:
    with h5py.File(source, "a") as file:
        del file[path]
        file[path] = link


def assert_values(source: Any, target: Path, matrix: Any, **options: Any) -> None:
    cellucid_dask.export(source, target, **SETTINGS, **options)
    export = check(target)
    for gene, values in zip(export.genes, dense(matrix).T, strict=True):
        assert_gene(export, gene, values, 8)


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize("path", ["X", "obsm/X_umap", "obsm", "/"])
def test_external_links_beside(tmp_path: Path, form: Any, path: str) -> None:
    source, other = pair(tmp_path, form=form)
    if path == "/":  # link every part of the matrix
        parts = ["X"] if form == "dense" else ["X/data", "X/indices", "X/indptr"]
    else:
        parts = [path]
    for part in parts:
        relink(source, part, h5py.ExternalLink("other.h5ad", f"/{part}"))
    truth, values = read_source(source), read_source(other)

    assert_values(source, tmp_path / "out", truth.X)

    if path in ("X", "/"):
        np.testing.assert_array_equal(dense(truth.X), dense(values.X))
    umap = truth.obsm["X_umap"]
    low, high = umap.min(axis=0), umap.max(axis=0)
    expected = (umap - (low + high) / 2) * 2 / (high - low).max()
    np.testing.assert_allclose(check(tmp_path / "out").points(2), expected, atol=1e-6)


def test_links_in_a_row(tmp_path: Path) -> None:
    """A soft link to an external one, to a soft one, to values."""
    source, other = pair(tmp_path)
    relink(source, "X", h5py.SoftLink("/uns/elsewhere/X"))
    with h5py.File(source, "a") as file:
        file["uns/elsewhere"] = h5py.ExternalLink("other.h5ad", "/uns/here")
    with h5py.File(other, "a") as file:
        file["uns/here/X"] = h5py.SoftLink("/X")
    assert_values(source, tmp_path / "out", read_source(other).X)


def test_backed_object_with_a_link(tmp_path: Path) -> None:
    source, other = pair(tmp_path)
    relink(source, "X", h5py.ExternalLink("other.h5ad", "/X"))
    adata = ad.read_h5ad(source, backed="r")
    assert_values(adata, tmp_path / "out", read_source(other).X)
    np.testing.assert_array_equal(dense(adata.X[:]), dense(read_source(other).X))
    adata.file.close()


def test_backed_object_with_a_link_that_leads_out(tmp_path: Path) -> None:
    source, other = pair(tmp_path, "../elsewhere")
    relink(source, "X", h5py.ExternalLink(other, "X"))
    adata = ad.read_h5ad(source, backed="r")
    refused(adata, tmp_path / "out", "^X/data of a.h5ad is a link to .*allow.links")
    assert_values(adata, tmp_path / "out", read_source(other).X, allow_links=True)
    adata.file.close()


@pytest.mark.parametrize("part", ["X", "obs/score", "obs/cell_type/codes", "obsm"])
@pytest.mark.parametrize("absolute", [True, False])
def test_external_links_that_lead_out(tmp_path: Path, part: str, absolute: bool) -> None:
    source, other = pair(tmp_path, "../elsewhere")
    relink(source, part, h5py.ExternalLink(other if absolute else "../elsewhere/other.h5ad", part))

    words = refused(source, tmp_path / "out", f"^{part}.* link to .*allow.links")
    assert str(other.resolve()) in words

    truth = read_source(source)
    assert_values(source, tmp_path / "out", truth.X, allow_links=True)
    np.testing.assert_allclose(
        check(tmp_path / "out").obs["score"], truth.obs["score"], atol=0.02, equal_nan=True
    )


def test_symbolic_link_that_leads_out(tmp_path: Path) -> None:
    source, other = pair(tmp_path, "../elsewhere")
    (source.parent / "beside.h5ad").symlink_to(other)
    relink(source, "X", h5py.ExternalLink("beside.h5ad", "X"))
    refused(source, tmp_path / "out", "allow.links")


def test_the_source_itself_may_be_a_symbolic_link(tmp_path: Path) -> None:
    source, other = pair(tmp_path)
    relink(source, "X", h5py.ExternalLink("other.h5ad", "X"))
    (tmp_path / "link.h5ad").symlink_to(source)
    assert_values(tmp_path / "link.h5ad", tmp_path / "out", read_source(other).X)


def test_moved_together(tmp_path: Path) -> None:
    """A link by the path of old, to a file that lies beside now."""
    source, other = pair(tmp_path)
    relink(source, "X", h5py.ExternalLink("/no/longer/there/other.h5ad", "X"))
    assert_values(source, tmp_path / "out", read_source(other).X)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (h5py.ExternalLink("gone.h5ad", "X"), "gone.h5ad, which does not exist"),
        (h5py.ExternalLink("other.h5ad", "gone"), "gone in .*other.h5ad"),
        (h5py.SoftLink("/gone"), "/gone, which is not there"),
        (h5py.SoftLink("/X"), "leads to itself"),
    ],
)
@pytest.mark.parametrize("part", ["X", "obs/cell_type", "obsm/X_umap"])
def test_links_to_nothing(tmp_path: Path, link: Any, said: str, part: str) -> None:
    source, _ = pair(tmp_path)
    if isinstance(link, h5py.SoftLink) and link.path == "/X":
        link = h5py.SoftLink(f"/{part}")
    relink(source, part, link)
    assert part in refused(source, tmp_path / "out", said)


def test_links_that_nobody_needs(tmp_path: Path) -> None:
    source, other = pair(tmp_path, "../elsewhere")
    with h5py.File(source, "a") as file:
        file["uns/secret"] = h5py.ExternalLink(other, "X")
        file["var/gone"] = h5py.ExternalLink("gone.h5ad", "X")
    relink(source, "layers/doubled", h5py.ExternalLink(other, "layers/doubled"))
    with h5py.File(source) as file:
        kept = {path: file[path][:] for path in ("X/data", "X/indices", "X/indptr")}
    cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    assert len(kept["X/data"])
    assert check(tmp_path / "out").n_cells == 40


def test_a_linked_file_that_changes_is_noticed(tmp_path: Path) -> None:
    source, other = pair(tmp_path)
    relink(source, "X", h5py.ExternalLink("other.h5ad", "X"))
    with open_source(source) as opened:
        before = opened.fingerprint("X")
        assert opened.fingerprint("X") == before
        os.utime(other, (1, 1))
        assert opened.fingerprint("X") != before


# Values of a data set in other files


def virtual(
    source: Path, values: Any, file_name: str = "other.h5", length: int | None = None
) -> None:
    """Replace X by a virtual data set of `values` in another file."""
    with h5py.File(source.parent / "other.h5", "w") as file:
        file["pad"] = np.arange(5000)
        file.create_dataset("x", data=values[:length], chunks=True)
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource(file_name, "x", shape=values.shape)
    with h5py.File(source, "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file.create_virtual_dataset("X", layout).attrs.update(attributes)


def test_virtual_data_set(tmp_path: Path) -> None:
    source, _ = pair(tmp_path, form="dense")
    values = np.arange(480, dtype=np.float32).reshape(40, 12)
    virtual(source, values)
    np.testing.assert_array_equal(read_source(source).X, values)
    assert_values(source, tmp_path / "out", values)


@pytest.mark.parametrize(
    ("file_name", "length", "said"),
    [
        ("gone.h5", None, "gone.h5, which does not exist"),
        ("other.h5", 30, "is not there or too short"),
    ],
)
def test_virtual_data_set_of_nothing(
    tmp_path: Path, file_name: str, length: int | None, said: str
) -> None:
    source, _ = pair(tmp_path, form="dense")
    virtual(source, np.ones((40, 12), np.float32), file_name, length)
    refused(source, tmp_path / "out", f"^X .*{said}")


def test_virtual_data_set_of_a_pattern(tmp_path: Path) -> None:
    source, _ = pair(tmp_path, form="dense")
    every = h5py.h5s.UNLIMITED
    with h5py.File(source, "a") as file:
        space = h5py.h5s.create_simple((40, 12), (every, 12))
        space.select_hyperslab((0, 0), (every, 1), (20, 1), (20, 12))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        part = h5py.h5s.create_simple((20, 12))
        plist.set_virtual(space, b"part-%b.h5", b"x", part)
        attributes = dict(file["X"].attrs)
        del file["X"]
        kind = h5py.h5t.IEEE_F32LE
        whole = h5py.h5s.create_simple((40, 12), (every, 12))
        h5py.h5d.create(file.id, b"X", kind, whole, plist)
        file["X"].attrs.update(attributes)
    refused(source, tmp_path / "out", "^X .*by the pattern part-%b.h5")


def test_virtual_data_set_of_parts(tmp_path: Path) -> None:
    """Two parts of another data set, one of the file itself."""
    source, _ = pair(tmp_path, form="dense")
    values = np.arange(480, dtype=np.float32).reshape(40, 12)
    with h5py.File(source.parent / "other.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(7, 5), maxshape=(None, 12))
    layout = h5py.VirtualLayout((40, 12), np.float32)
    other = h5py.VirtualSource("other.h5", "x", shape=(40, 12))
    layout[:10], layout[10:30] = other[30:], other[5:25]
    layout[30:] = h5py.VirtualSource(".", "uns/last", shape=(10, 12))
    with h5py.File(source, "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file["uns/last"] = values[:10] * 2
        file.create_virtual_dataset("X", layout).attrs.update(attributes)
    expected = np.concatenate([values[30:], values[5:25], values[:10] * 2])
    np.testing.assert_array_equal(read_source(source).X, expected)
    assert_values(source, tmp_path / "out", expected)


def test_virtual_data_set_that_leads_out(tmp_path: Path) -> None:
    source, _ = pair(tmp_path, form="dense")
    values = np.arange(480, dtype=np.float32).reshape(40, 12)
    virtual(source, values, str(tmp_path / "elsewhere.h5"))
    (source.parent / "other.h5").rename(tmp_path / "elsewhere.h5")
    refused(source, tmp_path / "out", "^X .*elsewhere.h5.*allow.links")
    assert_values(source, tmp_path / "out", values, allow_links=True)


def external(source: Path, values: Any, name: str, length: int | None = None) -> None:
    """Replace X by a data set whose values lie in a file without a format, after 16 bytes."""
    with h5py.File(source, "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        size = h5py.h5f.UNLIMITED
        dataset = file.create_dataset("X", values.shape, values.dtype, external=[(name, 16, size)])
        dataset.attrs.update(attributes)
    Path(name).write_bytes((b"#" * 16 + values.tobytes())[:length])


@pytest.mark.parametrize("absolute", [True, False])
def test_external_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool) -> None:
    source, _ = pair(tmp_path, form="dense")
    values = np.arange(480, dtype=np.float32).reshape(40, 12)
    monkeypatch.chdir(source.parent)
    external(source, values, str(source.parent / "raw.bin") if absolute else "raw.bin")
    np.testing.assert_array_equal(read_source(source).X, values)
    assert_values(source, tmp_path / "out", values)


def test_external_data_set_that_is_cut_short(tmp_path: Path) -> None:
    source, _ = pair(tmp_path, form="dense")
    external(source, np.ones((40, 12), np.float32), str(source.parent / "raw.bin"), 900)
    refused(source, tmp_path / "out", "^X .*raw.bin, which is too short")


def test_external_data_set_that_leads_out(tmp_path: Path) -> None:
    source, _ = pair(tmp_path, form="dense")
    values = np.arange(480, dtype=np.float32).reshape(40, 12)
    external(source, values, str(tmp_path / "secret"))
    refused(source, tmp_path / "out", "^X .*secret.*allow.links")
    assert_values(source, tmp_path / "out", values, allow_links=True)


# Zarr


def zarr_pair(tmp_path: Path, **options: Any) -> tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    other = write_zarr(small_anndata(seed=11, form="dense"), tmp_path / "other.zarr", **options)
    return write_zarr(small_anndata(form="dense"), tmp_path / "in/a.zarr", **options), other


def swap(store: Path, path: str, target: Path) -> None:
    """Move a part of a store away and link to something in its place."""
    (store / path).rename(store.parent / "old")
    (store / path).symlink_to(target)


@pytest.mark.parametrize("part", ["X", "X/c/0/0", "obs/score", "obs/cell_type/codes/c/0", "obsm"])
def test_symbolic_links_out_of_a_zarr_store(tmp_path: Path, part: str) -> None:
    source, other = zarr_pair(tmp_path)
    swap(source, part, other / part)
    words = refused(source, tmp_path / "out", r"^(X|obs|obsm).* is a link to .*allow.links")
    assert str(other) in words
    assert_values(source, tmp_path / "out", read_source(source).X, allow_links=True)


def test_symbolic_link_inside_a_zarr_store(tmp_path: Path) -> None:
    source, _ = zarr_pair(tmp_path)
    swap(source, "layers/doubled", source / "X")
    assert_values(source, tmp_path / "out", small_anndata(form="dense").X, layer="doubled")


@pytest.mark.parametrize("allow_links", [True, False])
def test_chunk_that_is_linked_to_nothing(tmp_path: Path, allow_links: bool) -> None:
    """Zarr would read zeros."""
    source, _ = zarr_pair(tmp_path)
    swap(source, "X/c/0/0", source / "gone")
    assert not dense(read_source(source).X).any()
    refused(source, tmp_path / "out", "gone, which does not exist", allow_links=allow_links)


def test_verify_follows_links_as_export_does(tmp_path: Path) -> None:
    source, other = zarr_pair(tmp_path)
    swap(source, "X", other / "X")
    target = tmp_path / "out"
    cellucid_dask.export(source, target, allow_links=True, **SETTINGS)
    with pytest.raises(RequestError, match="allow_links"):
        cellucid_dask.verify(target, source)
    assert cellucid_dask.verify(target, source, allow_links=True).ok


def test_identity_does_not_tell(tmp_path: Path, small_h5ad: Path) -> None:
    documents = []
    for allow_links in (False, True):
        target = tmp_path / str(allow_links)
        cellucid_dask.export(small_h5ad, target, allow_links=allow_links, **SETTINGS)
        documents.append((target / "dataset_identity.json").read_bytes())
    assert documents[0] == documents[1]


def link_in_a_store(tmp_path: Path, link: Callable[[Path], Any]) -> str:
    import fsspec

    source, other = pair(tmp_path)
    relink(source, "X", link(other))
    url = f"memory://{tmp_path.name}/a.h5ad"
    fsspec.filesystem("memory").put(str(source), url.removeprefix("memory:/"))
    return url


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("allow_links", [True, False])
def test_link_of_a_file_in_a_store(tmp_path: Path, absolute: bool, allow_links: bool) -> None:
    url = link_in_a_store(
        tmp_path, lambda other: h5py.ExternalLink(other if absolute else other.name, "X")
    )
    refused(url, tmp_path / "out", "^X .*other.h5ad.*in a store", allow_links=allow_links)


def test_not_even_metadata_are_read_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column is measured before it is read, and its links are checked before that."""
    source = write_zarr(small_anndata(), tmp_path / "in/a.zarr")
    (tmp_path / "elsewhere").mkdir()
    codes = (source / "obs/cell_type/codes").rename(tmp_path / "elsewhere/codes")
    (source / "obs/cell_type/codes").symlink_to(codes)
    opened: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read(path))
    with open_source(source) as found, pytest.raises(RequestError, match=r"allow.links"):
        found.obs("cell_type")
    assert opened
    assert not any(path.resolve().is_relative_to(codes) for path in opened)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("group", ["", "obs", "X"])
def test_metadata_of_a_store_by_a_link(tmp_path: Path, version: Any, group: str) -> None:
    store = write_zarr(small_anndata(), tmp_path / "in/a.zarr", version=version)
    name = ".zattrs" if version == 2 else "zarr.json"
    document, other = store / group / name, tmp_path / name
    document.rename(other)
    document.symlink_to(other)
    refused(store, tmp_path / "out", r"is a link to .*pass allow_links=True")
    assert_values(store, tmp_path / "out", small_anndata().X, allow_links=True)
    (store / "beside").write_bytes(other.read_bytes())
    document.unlink()
    document.symlink_to(store / "beside")
    assert_values(store, tmp_path / "again", small_anndata().X)
