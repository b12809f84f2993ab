"""Named pipes, devices and sockets are refused at once, whether read or written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

import cellucid_dask
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.source import open_source
from cellucid_dask.store.local import check_folder, list_folder, open_below, write_local
from cellucid_dask.store.location import Location
from cellucid_dask.store.preflight import check_reachable
from cellucid_dask.store.target import Target
from tests.helpers import small_anndata


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


KINDS = pytest.mark.parametrize("make", [os.mkfifo, make_socket, make_link_to_device])
Make = Callable[[Path], None]


@KINDS
@pytest.mark.parametrize("name", ["", "obs_manifest.json", "var/gene.bin", "x/lease.json"])
def test_target(tmp_path: Path, make: Make, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    with pytest.raises(RequestError, match=r"named pipe, a device or a socket|is a link"):
        check_reachable(Target.of(tmp_path / "out"))


@KINDS
def test_source(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "a.h5ad")
    with (
        pytest.raises(RequestError, match="named pipe, a device or a socket"),
        open_source(tmp_path / "a.h5ad"),
    ):
        pass


@KINDS
def test_file_that_became_one(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "x")
    target = Target.of(tmp_path)
    with pytest.raises(ExportError, match=r"tmp|x could not be read"):
        target.read("x")
    with pytest.raises(OSError, match=r"."):
        target.read_ranges([("x", 0, 1)])
    assert isinstance(target.fetch({"x": 1})["x"], OSError)
    with pytest.raises(OSError, match=r"."):
        write_local(str(tmp_path / "x"), b"1")


@pytest.mark.parametrize("below", ["", "/out", "/a/b"])
def test_target_that_is_a_file_or_below_one(tmp_path: Path, below: str) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(RequestError, match=r"is a file|lies under a file"):
        check_folder(f"{tmp_path}/f{below}")


def test_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "obs").mkdir()
    (tmp_path / "obs/a").write_text("a")
    check_folder(str(tmp_path))
    check_folder(str(tmp_path / "new/folder"))


@pytest.mark.parametrize(
    "name", ["var", ".cellucid-dask", "var/gene.values.u8.gz", "broken", "loop"]
)
def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path, name: str) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "out" / name
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("mine")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to({"broken": "nowhere", "loop": "loop"}.get(name, elsewhere))
    with pytest.raises(RequestError, match="is a link"):
        cellucid_dask.export(small_anndata(), tmp_path / "out", force=True, progress=False)
    assert [each.name for each in elsewhere.iterdir()] == ["run.json"]
    assert (elsewhere / "run.json").read_text() == "mine"


def test_a_link_that_appears_later_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "gene").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        write_local(str(tmp_path / "gene"), b"other")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["out", "folder/gene", "up", "../elsewhere/gene", "around/gene"])
def test_nothing_is_read_through_a_link_that_leads_out(tmp_path: Path, name: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root, elsewhere):
        folder.mkdir()
        (folder / "gene").write_bytes(b"mine")
    (root / "out").symlink_to(elsewhere / "gene")
    (root / "folder").symlink_to(elsewhere)
    (root / "up").symlink_to("../elsewhere/gene")
    (root / "around").symlink_to("folder")
    target = Target.of(root)
    with pytest.raises(OSError, match="leads out of the folder"):
        open_below(str(root), name)
    with pytest.raises(ExportError, match="leads out of the folder"):
        target.read(name)
    with pytest.raises(OSError, match="leads out of the folder"):
        target.read_ranges([(name, 0, 1)])
    assert isinstance(target.fetch({name: 1})[name], OSError)


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/a/gene").write_bytes(b"mine")
    (tmp_path / "root/b").symlink_to("a")
    (tmp_path / "link").symlink_to("root")
    for root in ("root", "link"):
        assert Target.of(tmp_path / root).read("b/gene") == b"mine"
    assert open_below(str(tmp_path / "link"), "b/gene").read() == b"mine"


def test_a_file_larger_than_its_kind_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "lease.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ExportError, match=r"lease\.json could not be read: it is larger than any"):
        Target.of(tmp_path).read("lease.json")
    with pytest.raises(ExportError, match="larger"):
        Target.of(tmp_path).read("lease.json", 100)


def test_a_folder_is_listed_as_fsspec_lists_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(b"1")
    (tmp_path / "to file").symlink_to("a")
    (tmp_path / "to folder").symlink_to("folder")
    (tmp_path / "to nowhere").symlink_to("missing")
    expected = {
        Path(info["name"]).name: (info["type"] == "directory", info["size"])
        for info in LocalFileSystem().ls(str(tmp_path), detail=True)
    }
    found = {entry.path: entry for entry in list_folder(str(tmp_path))}
    assert {name: entry.is_folder for name, entry in found.items()} == {
        name: is_folder for name, (is_folder, _) in expected.items()
    }
    assert found["a"].size == found["to file"].size == expected["a"][1] == 3
    before = found["a"].state
    os.utime(tmp_path / "a", (1, 1))
    assert {entry.path: entry for entry in list_folder(str(tmp_path))}["a"].state != before

    (tmp_path / "folder" / "empty").mkdir()
    (tmp_path / "folder" / "another").mkdir()
    (tmp_path / "folder" / "another" / "c").write_bytes(b"12")
    (tmp_path / "folder" / "to above").symlink_to("..")
    (tmp_path / "to nowhere").unlink()
    below = {
        str(Path(path).relative_to(tmp_path)): info["size"]
        for path, info in LocalFileSystem().find(str(tmp_path), detail=True).items()
    }
    assert Location(str(tmp_path)).tree() == below
    assert below.keys() > {"folder/b", "folder/another/c"}


def test_only_folders_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert Location(str(tmp_path / "a")).entries() == []
    assert Location(str(tmp_path / "missing")).entries() == []
