"""Exports as cellucid-zarr that are not what they claim: refused, before memory is taken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cellucid_dask
from tests.helpers import edit_json, small_anndata


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("zarr") / "export"
    cellucid_dask.export(
        small_anndata(), target, format="cellucid-zarr", page=False, progress=False
    )
    return target


def claim(array: str, **what: Any) -> Callable[[Path], object]:
    def damage(export: Path) -> None:
        edit_json(export / array / ".zarray", lambda found: found.update(what))
        edit_json(
            export / ".zmetadata", lambda found: found["metadata"][f"{array}/.zarray"].update(what)
        )

    return damage


def in_place_of_the_group(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(export: Path) -> None:
        (export / ".zgroup").unlink()
        make(export / ".zgroup")

    return damage


DAMAGES = {
    "cells": claim("obs/_index", shape=[10**12], chunks=[1]),
    "rows": claim("obsm/X_umap", shape=[10**12, 2]),
    "categories": claim("obs/cell_type/categories", shape=[10**9], chunks=[10**9]),
    "more genes than can be counted": claim("var/_index", shape=[2**64]),
    "more values than can be counted": claim("obsm/X_umap", shape=[2**40, 2**40]),
    "fewer than none": claim("obs/_index", shape=[-1]),
    "values": claim("obs/score", dtype="|V1000000000"),
    "no group": in_place_of_the_group(lambda _: None),
    "a pipe": in_place_of_the_group(os.mkfifo),
    "a link": in_place_of_the_group(lambda path: path.symlink_to("/etc")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_is_refused_in_words(whole: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    DAMAGES[name](copy)
    with pytest.raises((cellucid_dask.ExportError, cellucid_dask.RequestError)):
        cellucid_dask.open_export(copy).to_anndata()


@pytest.mark.parametrize("array", ["obs/score", "obsm/X_umap", "X/data"])
def test_more_chunks_than_files_are_found(whole: Path, tmp_path: Path, array: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    width = [2] if array == "obsm/X_umap" else []
    claim(array, shape=[10**12, *width], chunks=[1, *width])(copy)
    report = cellucid_dask.verify(copy)
    assert f"{array}/.zarray names more chunks than there are files" in report.findings
