"""Exports served on this machine, and the page written into them; without a browser."""

from __future__ import annotations

import html
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anndata as ad
import dask
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import cellucid_dask
from cellucid_dask import RequestError
from cellucid_dask.page import page_files
from cellucid_dask.read.page import add_page
from cellucid_dask.read.serve import Server
from cellucid_dask.store.target import Target
from tests.helpers import ROOT, run_command, tree_bytes, write_h5ad

Answer = tuple[int, dict[str, str], bytes]


def serve(target: str | Path, port: int = 0) -> Server:
    return Server(Target.of(target, {}), port).start()


@pytest.fixture
def server(target: Path) -> Iterator[Server]:
    (target.parent / "secret.txt").write_text("secret")
    made = serve(target)
    yield made
    made.close()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask for a path as it is: a library would clean it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_files_are_sent_whole(server: Server, target: Path) -> None:
    for name, data in tree_bytes(target).items():
        status, headers, body = ask(server, server.path + name)
        assert (status, body) == (200, data)
        assert "content-encoding" not in headers
        assert headers["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
    assert ask(server, server.path)[2] == (target / "index.html").read_bytes()
    kinds = {"index.html": "text/html", "obs_manifest.json": "application/json"}
    kinds |= {name: "text/javascript" for name in page_files("export") if name.endswith(".js")}
    for name, kind in kinds.items():
        assert ask(server, server.path + name)[1]["content-type"].startswith(kind)
    assert ask(server, f"{server.path}obs_manifest.json?v=1#x")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_nothing_but_reading(server: Server, target: Path, method: str) -> None:
    before = tree_bytes(target)
    assert ask(server, server.path + "obs_manifest.json", method)[0] in {405, 501}
    assert tree_bytes(target) == before


def test_head(server: Server, target: Path) -> None:
    whole = ask(server, server.path + "obs_manifest.json")
    status, headers, body = ask(server, server.path + "obs_manifest.json", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-length"] == str((target / "obs_manifest.json").stat().st_size)
    assert {**headers, "date": ""} == {**whole[1], "date": ""}
    assert ask(server, server.path + "nope", "HEAD")[0] == 404


def test_ranges(server: Server, target: Path) -> None:
    name = "points_2d.bin.gz"
    data = (target / name).read_bytes()
    size = len(data)
    for wanted, start, stop in [
        ("0-0", 0, 1), ("5-9", 5, 10), (f"{size - 3}-", size - 3, size), ("-4", size - 4, size),
        (f"10-{size + 99}", 10, size),
    ]:  # fmt: skip
        status, headers, body = ask(server, server.path + name, Range=f"bytes={wanted}")
        assert (status, body) == (206, data[start:stop])
        assert headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    for unknown in "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=9-5":
        status, _, body = ask(server, server.path + name, Range=unknown)
        assert (status, body) == (200, data)
    for wrong in f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0":
        status, headers, body = ask(server, server.path + name, Range=wrong)
        assert (status, body) == (416, b"")
        assert headers["content-range"] == f"bytes */{size}"


def test_only_who_knows_the_address(server: Server, target: Path) -> None:
    assert len(server.path) > 16
    assert server.url == f"http://127.0.0.1:{server.port}{server.path}"
    for path in "/", "/index.html", "/obs_manifest.json", server.path[:-2] + "/", server.path[:-1]:
        assert ask(server, path)[0] == 404
    other = serve(target)
    assert other.path != server.path
    other.close()


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "var/../../secret.txt", "//x",
        "..\\secret.txt", "..%5csecret.txt", "/etc/passwd", "%2fetc%2fpasswd", "./index.html",
        "var//x", "%00", "obs_manifest.json%00.txt", "obs_manifest.json/", "var", "var/", ".hidden",
        ".cellucid-dask/record.json", "link/secret.txt", "link.txt", "loop", "x" * 3000, "nope",
    ],
)  # fmt: skip
def test_nothing_outside_of_the_export(server: Server, target: Path, path: str) -> None:
    (target / ".hidden").write_text("secret")
    (target / "link").symlink_to(target.parent)
    (target / "link.txt").symlink_to(target.parent / "secret.txt")
    (target / "loop").symlink_to(target / "loop")
    status, _, body = ask(server, server.path + path)
    assert (status, body) == (404, b"")


def test_links_within_the_export(server: Server, target: Path) -> None:
    (target / "other.json").symlink_to(target / "obs_manifest.json")
    assert ask(server, server.path + "other.json")[0] == 200


def test_a_store_that_is_not_local(target: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{target}/", "/serve/one/", recursive=True)
    memory.pipe("/serve/secret.txt", b"secret")
    made = serve("memory://serve/one")
    try:
        status, _, body = ask(made, made.path + "obs_manifest.json", Range="bytes=1-3")
        assert (status, body) == (206, (target / "obs_manifest.json").read_bytes()[1:4])
        for path in "../secret.txt", "%2e%2e/secret.txt", "var", "nope":
            assert ask(made, made.path + path)[0] == 404
    finally:
        made.close()
        memory.rm("/serve", recursive=True)


def test_an_export_without_a_page_has_one_when_served(adata: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(adata, tmp_path / "old", page=False, progress=False)
    before = tree_bytes(tmp_path / "old")
    made = serve(tmp_path / "old")
    for name, data in page_files("export").items():
        assert ask(made, made.path + name)[2] == data
    assert ask(made, f"{made.path}index.html", Range="bytes=0-8")[2] == b"<!doctype"
    made.close()
    assert tree_bytes(tmp_path / "old") == before


def test_a_root_of_several_exports(target: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(target, root / "a")
    made = serve(root)
    assert b'content="catalog"' in ask(made, made.path)[2]
    assert b'"path": "a/"' in ask(made, made.path + "datasets.json")[2]
    assert ask(made, made.path + "a/obs_manifest.json")[0] == 200
    made.close()
    cellucid_dask.catalog(root)
    made = serve(root)
    assert ask(made, made.path + "datasets.json")[2] == (root / "datasets.json").read_bytes()
    made.close()


def test_what_cannot_be_served(target: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nothing does not exist"):
        serve(tmp_path / "nothing")
    first = serve(target)
    with pytest.raises(RequestError, match=f"Port {first.port} cannot be used"):
        serve(target, first.port)
    with pytest.raises(RequestError, match="cannot be used"):
        serve(target, 70_000)
    first.close()
    with pytest.raises(OSError):  # noqa: PT011  no one listens
        ask(first, first.path)
    again = serve(target, first.port)
    assert ask(again, again.path)[0] == 200
    again.close()


def test_a_file_that_goes_while_it_is_sent(server: Server, target: Path) -> None:
    """The connection ends; the next request is answered."""
    (target / "var_manifest.json").unlink()
    assert ask(server, server.path + "var_manifest.json")[0] == 404
    assert ask(server, server.path + "obs_manifest.json")[0] == 200


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_its_address_and_stops(target: Path, stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cellucid_dask", "view", str(target), "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[-1]
        assert line == f"{target} is shown at {address}\n"
        assert process.stdout.readline() == "Ctrl-C stops.\n"
        with urllib.request.urlopen(f"{address}obs_manifest.json", timeout=20) as answer:
            assert answer.read() == (target / "obs_manifest.json").read_bytes()
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_command_refuses(target: Path, tmp_path: Path) -> None:
    for arguments, said in [
        ((str(tmp_path / "no"),), "does not exist"),
        ((f"{target}s",), f"{target}s does not exist: did you mean {target.name}?"),
        ((str(target / "var_manifest.json"),), "is a file, not an export: export it with"),
        ((str(target / "var"),), "contains no export"),
        ((str(target), "--port", "x"), "is not a port"),
        ((str(target), "--port", "65536"), "is not a port"),
    ]:
        done = run_command("view", *arguments, "--no-browser")
        assert done.returncode == 2
        assert said in done.stderr


# --- the page in an export


def test_the_page_is_added_to_an_export_made_before(adata: ad.AnnData, tmp_path: Path) -> None:
    target = tmp_path / "old"
    cellucid_dask.export(adata, target, page=False, progress=False)
    before = tree_bytes(target)
    assert not set(before).intersection(page_files("export"))
    done = run_command("page", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Wrote the page of {target}\nView it: cellucid-dask view {target}\n"
    assert tree_bytes(target) == before | page_files("export")
    assert cellucid_dask.verify(target).ok


def test_another_version_of_the_page_is_replaced(target: Path) -> None:
    page, before = page_files("export"), tree_bytes(target)
    version = next(name for name in page if name.startswith("_page/")).split("/")[1]
    (target / "_page" / version).rename(target / "_page/0123456789ab")
    index = target / "index.html"
    index.write_text(index.read_text().replace(version, "0123456789ab"))
    assert cellucid_dask.verify(target).ok
    (target / "_page/notes.txt").write_text("mine")
    add_page(target)
    assert tree_bytes(target) == before | {"_page/notes.txt": b"mine"}
    mtime = index.stat().st_mtime_ns
    add_page(target)  # the same: nothing is written
    assert index.stat().st_mtime_ns == mtime


def test_the_index_of_somebody_else_is_kept(adata: ad.AnnData, tmp_path: Path) -> None:
    target, root = tmp_path / "root/mine", tmp_path / "root"
    cellucid_dask.export(adata, target, page=False, progress=False)
    (target / "index.html").write_text("<h1>Mine</h1>")
    (root / "index.html").write_text("<h1>Mine</h1>")
    before = tree_bytes(root)
    for call in (
        lambda: add_page(target),
        lambda: cellucid_dask.catalog(root),
        lambda: cellucid_dask.export(adata, target, force=True, progress=False),
    ):
        with pytest.raises(RequestError, match=r"has an index.html of its own"):
            call()
        assert tree_bytes(root) == before
    cellucid_dask.export(adata, target, page=False, force=True, progress=False)
    cellucid_dask.catalog(root, page=False)
    after = tree_bytes(root)
    assert after["index.html"] == after["mine/index.html"] == b"<h1>Mine</h1>"


def test_a_page_needs_an_export(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="contains no export: it has neither"):
        add_page(tmp_path)
    with pytest.raises(RequestError, match="nothing does not exist"):
        add_page(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_options_of_the_page(adata: ad.AnnData, tmp_path: Path) -> None:
    source = write_h5ad(adata, tmp_path / "cells.h5ad")
    target = tmp_path / "export"

    def run(*options: str) -> set[str]:
        done = run_command("export", source, target, "--no-progress", *options)
        assert done.returncode == 0, done.stderr
        assert f"View it: cellucid-dask view {target}" in done.stdout
        assert cellucid_dask.verify(target).ok
        return set(tree_bytes(target))

    page = set(page_files("export"))
    with_page = run()
    assert page < with_page
    assert run("--force", "--no-page") == with_page - page
    assert run("--force") == with_page
    shutil.rmtree(target)
    assert run("--resume") == with_page


def test_verify_knows_the_page(target: Path) -> None:
    (target / "_page/notes/and").mkdir(parents=True)
    (target / "_page/notes/and/more.txt").write_text("")
    name = next(name for name in page_files("export") if name.endswith("/main.js"))
    (target / name).unlink()
    problems = "\n".join(cellucid_dask.verify(target).findings)
    assert f"{name} is missing: index.html names it" in problems
    assert "_page/notes/and/more.txt is left over" in problems
    add_page(target)


def test_a_catalog_has_a_page(target: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(target, root / "a")
    cellucid_dask.catalog(root)
    for name, data in page_files("catalog").items():
        assert (root / name).read_bytes() == data
    shutil.rmtree(root / "_page")
    (root / "index.html").unlink()
    assert cellucid_dask.catalog(root, page=False)["default"]
    assert {each.name for each in root.iterdir()} == {"a", "datasets.json"}
    add_page(root)
    assert (root / "index.html").read_bytes() == page_files("catalog")["index.html"]


# --- in a notebook


def test_a_view_in_a_notebook(target: Path) -> None:
    with dask.config.set({"distributed.dashboard.link": "{scheme}://{host}:{port}/status"}):
        view = cellucid_dask.open_export(target).view(height=321)
        with urllib.request.urlopen(view.url, timeout=20) as answer:
            assert answer.read() == (target / "index.html").read_bytes()
        assert repr(view) == f"{target} at {view.url}"
        shown = view._repr_html_()
        assert f'<iframe src="{view.url}" title="{target.name}"' in shown
        assert 'height="321"' in shown
        view.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(view.url, timeout=5)


def test_a_view_behind_a_hub(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def address(link: str | None, **environment: str) -> tuple[str, Any]:
        for name in ("JUPYTERHUB_SERVICE_PREFIX", "USER_PREFIX"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with dask.config.set({"distributed.dashboard.link": link}):
            view = cellucid_dask.open_export(target).view()
            url, port, path = view.url, view._server.port, view._server.path
            assert html.unescape(re.findall('src="([^"]*)"', view._repr_html_())[0]) == url
            view.close()
        return url, (port, path)

    usual = "{scheme}://{host}:{port}/status"
    url, (port, path) = address(usual, JUPYTERHUB_SERVICE_PREFIX="/user/me/")
    assert url == f"/user/me/proxy/{port}{path}"
    url, (port, path) = address("{USER_PREFIX}/proxy/{port}/status", USER_PREFIX="https://hub/u")
    assert url == f"https://hub/u/proxy/{port}{path}"
    url, (port, path) = address("/user/me&you/proxy/{port}/status")
    assert url == f"/user/me&you/proxy/{port}{path}"
    for link in usual, None:
        url, (port, path) = address(link)
        assert urlsplit(url)[:3] == ("http", f"127.0.0.1:{port}", path)
    assert os.environ.get("JUPYTERHUB_SERVICE_PREFIX") is None


@pytest.mark.parametrize("fails", ["info", "cat_file"])
def test_a_store_that_fails_is_told_of(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    there = f"{tmp_path.name}/{fails}"
    fsspec.filesystem("memory").put(f"{target}/", f"/{there}/", recursive=True)
    made = serve(f"memory://{there}")

    def away(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the store is away")

    try:
        name = made.path + "points_2d.bin.gz"
        whole = ask(made, name)
        assert whole[0] == 200
        with monkeypatch.context() as patched:
            patched.setattr(MemoryFileSystem, fails, away)
            for headers in {}, {"Range": "bytes=0-4"}:
                status, answered, body = ask(made, name, **headers)
                assert (status, answered["content-type"]) == (502, "text/plain; charset=utf-8")
                assert b"points_2d.bin.gz" in body
                assert b"the store is away" in body
                assert b"Traceback" not in body
            assert ask(made, made.path)[0] == 200  # the page itself comes from the package
            expected = 502 if fails == "info" else 200
            assert ask(made, name, "HEAD")[::2] == (expected, b"")
        assert ask(made, name)[2] == whole[2]
    finally:
        made.close()
        fsspec.filesystem("memory").rm(f"/{there}", recursive=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_told_of(server: Server, target: Path) -> None:
    (target / "var_manifest.json").chmod(0)
    assert ask(server, server.path + "var_manifest.json")[0] == 502


def test_an_export_that_is_replaced_at_once_is_never_said_to_be_the_same(
    server: Server, target: Path
) -> None:
    path = target / "obs_manifest.json"
    first = ask(server, server.path + path.name)
    path.write_bytes(first[2].replace(b"compact", b"COMPACT"))  # of the same size and second
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime))
    conditions = {"If-Modified-Since": first[1]["date"], "If-None-Match": "*"}
    status, headers, body = ask(server, server.path + path.name, **conditions)
    assert (status, body) == (200, path.read_bytes())
    assert body != first[2]
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("harm", ["missing", "cut", "changed"])
def test_a_page_is_made_whole_again(target: Path, harm: str) -> None:
    before = tree_bytes(target)
    name = next(name for name in page_files("export") if name.endswith("/view.js"))
    if harm == "missing":
        (target / name).unlink()
    else:
        data = before[name]
        (target / name).write_bytes(data[:-5] if harm == "cut" else data[::-1])
    others = {each: (target / each).stat().st_mtime_ns for each in before if each != name}
    add_page(target)
    assert tree_bytes(target) == before
    assert {each: (target / each).stat().st_mtime_ns for each in others} == others
