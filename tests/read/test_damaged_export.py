"""Damaged and malicious exports are refused in words; nothing outside of them is read."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cellucid_dask
from tests.helpers import edit_json
from tests.read.exports import add_graph


def copy(exported: tuple[Path, ad.AnnData], to: Path) -> Path:
    for file in exported[0].rglob("*"):
        if file.is_file():
            place = to / file.relative_to(exported[0])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b""]
)
def test_damaged_file_is_named(
    exported: tuple[Path, ad.AnnData], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    target = copy(exported, tmp_path / "e")
    file = target / "var/gene1.values.u8.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(cellucid_dask.ExportError, match=r"var/gene1\.values\.u8\.gz"):
        cellucid_dask.open_export(target).gene("gene1")
    file.unlink()
    with pytest.raises(cellucid_dask.ExportError, match=r"gene1\.values\.u8\.gz is missing"):
        cellucid_dask.open_export(target).gene("gene1")


MALICE: list[tuple[str, Callable[[Any], Any]]] = [
    ("var", lambda m: m["_varSchema"].update(pathPattern="../../{key}.u8.gz")),
    ("var", lambda m: m.update(n_points=10**15)),
    ("var", lambda m: m.update(n_points=10**400)),
    ("var", lambda m: m.update(n_points=-1)),
    ("var", lambda m: m.update(n_points=True)),
    ("var", lambda m: m.update(quantization=[8])),
    ("var", lambda m: m.update(compression="6")),
    ("var", lambda m: m["fields"].append(["gene1", 0, 1])),
    ("var", lambda m: m["fields"].append(["gene/1", 0, 1, 2])),
    ("var", lambda m: m["fields"].append(["new", 1, 0])),
    ("var", lambda m: m["fields"].append(["new", 0, 1e300])),
    ("var", lambda m: m["fields"].append(["new", 0, 10**400])),
    ("var", lambda m: m["fields"].append({"gene": 1})),
    ("var", lambda m: m.update(fields=None)),
    ("obs", lambda m: m["_obsSchemas"]["continuous"].update(pathPattern="/etc/{key}")),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(1, 7)),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(1, ["a", "a"])),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(2, "object")),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(3, 3)),
    ("obs", lambda m: m["_categoricalFields"][0].__delitem__(slice(1, None))),
    ("identity", lambda m: m["embeddings"]["files"].update({"2d": "../../../etc/passwd"})),
    ("identity", lambda m: m["embeddings"].update(available_dimensions=[7])),
    ("identity", lambda m: m.update(vector_fields={"fields": {"../x": {}}})),
    ("identity", lambda m: m.update(stats=[])),
]


@pytest.mark.parametrize(("document", "edit"), MALICE)
def test_malicious_documents_are_refused(
    exported: tuple[Path, ad.AnnData],
    tmp_path: Path,
    document: str,
    edit: Callable[[Any], Any],
) -> None:
    target = copy(exported, tmp_path / "e")
    name = "dataset_identity.json" if document == "identity" else f"{document}_manifest.json"
    edit_json(target / name, edit)

    with pytest.raises(cellucid_dask.ExportError):
        cellucid_dask.open_export(target)
    assert not cellucid_dask.verify(target).ok


def test_names_stay_inside(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(12, 2, dtype=np.float32),
        var=pd.DataFrame(index=["../../etc/passwd", "<b>"]),
        obsm={"X_umap": np.eye(12, 2)},
    )
    cellucid_dask.export(adata, tmp_path / "e", progress=False)
    (tmp_path.parent / "etc").mkdir(exist_ok=True)
    np.testing.assert_array_equal(
        cellucid_dask.open_export(tmp_path / "e").gene("../../etc/passwd"), np.eye(12, 2)[:, 0]
    )


def test_many_cells_that_are_not_there(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    target = copy(exported, tmp_path / "e")
    add_graph(target, [(0, 1)], 120)
    many = 2**36
    edit_json(target / "var_manifest.json", lambda m: m.update(n_points=many))
    edit_json(target / "obs_manifest.json", lambda m: m.update(n_points=many))
    edit_json(target / "dataset_identity.json", lambda m: m["stats"].update(n_cells=many))
    edit_json(
        target / "connectivity_manifest.json", lambda m: m.update(n_cells=many, index_bytes=4)
    )
    found = cellucid_dask.open_export(target)
    for ask in (lambda: found.gene("gene0"), lambda: found.points(2), lambda: found.obs,
                found.connectivity, found.to_anndata):  # fmt: skip
        with pytest.raises(cellucid_dask.ExportError):
            ask()
    assert not cellucid_dask.verify(target).ok


def test_files_larger_than_they_may_be_are_not_read(
    exported: tuple[Path, ad.AnnData], tmp_path: Path
) -> None:
    target, many = copy(exported, tmp_path / "e"), 10**9
    add_graph(target, [(0, 1)], 120)
    for name in ("var", "obs"):
        edit_json(target / f"{name}_manifest.json", lambda m: m.update(n_points=many))
    edit_json(target / "dataset_identity.json", lambda m: m["stats"].update(n_cells=many))
    edit_json(
        target / "connectivity_manifest.json", lambda m: m.update(n_cells=many, index_bytes=4)
    )
    for file in target.rglob("*.gz"):
        os.truncate(file, 2**40)
    found = cellucid_dask.open_export(target)
    tracemalloc.start()
    for ask in (lambda: found.gene("gene0"), lambda: found.points(2), lambda: found.obs,
                found.connectivity):  # fmt: skip
        with pytest.raises(cellucid_dask.ExportError, match="larger than any file of its kind"):
            ask()
    assert "larger than any file of its kind" in str(cellucid_dask.verify(target))
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()


@pytest.mark.parametrize("nbytes", [17 << 20, 2**40])
def test_documents_larger_than_any_are_refused(
    exported: tuple[Path, ad.AnnData], tmp_path: Path, nbytes: int
) -> None:
    target = copy(exported, tmp_path / "e")
    add_graph(target, [(0, 1)], 120)
    for file in target.glob("*.json"):
        os.truncate(file, nbytes)
    for read in (cellucid_dask.open_export, cellucid_dask.verify):
        with pytest.raises(cellucid_dask.ExportError, match="larger than"):
            read(target)


def test_names_are_shown_without_control_characters(
    exported: tuple[Path, ad.AnnData], tmp_path: Path
) -> None:
    target = copy(exported, tmp_path / "e")
    edit_json(target / "dataset_identity.json", lambda m: m.update(name="\x1b[2J\u202eowned"))
    edit_json(target / "var_manifest.json", lambda m: m["fields"][0].__setitem__(0, "\x1b[31m"))
    found = cellucid_dask.open_export(target)
    assert "owned" in repr(found)
    for text in (repr(found), found._repr_html_(), str(cellucid_dask.verify(target))):
        assert text.replace("\n", "").isprintable()


def test_links_out_of_an_export_are_not_followed(
    exported: tuple[Path, ad.AnnData], tmp_path: Path
) -> None:
    target, secret = copy(exported, tmp_path / "e"), tmp_path / "secret"
    secret.write_bytes((target / "var/gene1.values.u8.gz").read_bytes())
    for name in ("var/gene0.values.u8.gz", "points_2d.bin.gz"):
        (target / name).unlink()
        (target / name).symlink_to(secret)
    found = cellucid_dask.open_export(target)
    with pytest.raises(cellucid_dask.ExportError, match="link that leads out of the folder"):
        found.gene("gene0")
    with pytest.raises(cellucid_dask.ExportError, match="link that leads out of the folder"):
        found.points(2)
    assert not cellucid_dask.verify(target).ok
    (target / "obs_manifest.json").unlink()
    (target / "obs_manifest.json").symlink_to("/etc/hostname")
    with pytest.raises(cellucid_dask.ExportError, match="link that leads out of the folder"):
        cellucid_dask.open_export(target)
