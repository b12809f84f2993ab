"""What opens a path or URL, and what a `#` in it means."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest

from cellucid_dask.errors import RequestError
from cellucid_dask.source import KINDS, Kind, open_source
from cellucid_dask.source.anndata_file import FileSource
from cellucid_dask.store.location import Location
from tests.helpers import small_anndata


def opened(path: Any, storage_options: dict[str, Any] | None = None) -> Any:
    with open_source(path, storage_options) as source:
        return source


def name_of(path: Any) -> str:
    source = opened(path)
    assert isinstance(source, FileSource)
    return source.name


@pytest.mark.parametrize("name", ["a.h5ad", "a.h5", "a", "a.zarr", "a#b.h5ad", "b#1", "a.h5ad#b"])
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_local_file_of_any_name(tmp_path: Path, name: str, form: str) -> None:
    adata = small_anndata(extras=False)
    adata.write_h5ad(tmp_path / name) if form == "h5ad" else adata.write_zarr(tmp_path / name)
    assert name_of(tmp_path / name) == name
    assert name_of(f"file://{tmp_path / name}") == name
    with pytest.raises(RequestError, match=rf"{name} is one data set .*: remove #rna after"):
        opened(f"{tmp_path / name}#rna")


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr", "a", "a#b.h5ad", "run#3/a.zarr"])
def test_url(small_h5ad: Path, tmp_path: Path, name: str) -> None:
    local = small_h5ad
    if not name.endswith(".h5ad"):
        local = tmp_path / "local.zarr"
        small_anndata(extras=False).write_zarr(local)
    url = f"memory://{tmp_path.name}/{name}"
    fsspec.filesystem("memory").put(str(local), f"/{tmp_path.name}/{name}", recursive=True)
    assert name_of(url) == name.rpartition("/")[2]
    if name != "a":
        with pytest.raises(RequestError, match=rf"{name} is one data set .*: remove #rna after"):
            opened(f"{url}#rna")


@pytest.mark.parametrize("name", ["a.h5ad", "a.h5ad#rna", "a"])
def test_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=rf"{name} does not exist\."):
        opened(tmp_path / name)


def test_kind_that_takes_a_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def opener(
        location: Location, part: str | None, _: bool, __: ExitStack
    ) -> tuple[str, str | None]:
        return location.url, part

    module = ModuleType("some_package")
    module.open_parts = opener  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_package", module)
    kind = Kind("some_package:open_parts", (".parts",))
    monkeypatch.setitem(KINDS, "parts", kind)
    path = tmp_path / "a.parts"
    path.touch()
    assert opened(path) == (str(path), None)
    assert opened(f"{path}#rna") == (str(path), "rna")
    assert opened("s3://b/a.parts#rna") == ("s3://b/a.parts", "rna")
    assert opened("s3://b/a.parts") == ("s3://b/a.parts", None)
    (tmp_path / "a.parts#rna").touch()
    with pytest.raises(RequestError, match="cannot be read as AnnData"):
        opened(f"{path}#rna")  # the file of this name, which is empty


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_url_that_cannot_be_opened(name: str) -> None:
    with pytest.raises(RequestError, match="storage option") as refusal:
        opened(f"s3://me:hush@bucket/{name}")
    assert "hush" not in str(refusal.value)
    with pytest.raises(RequestError, match=r"^nowhere://a/.* cannot be opened"):
        opened(f"nowhere://a/{name}")
