"""The page as files: complete, by themselves, and with nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from cellucid_dask.page import page_files

MOST_BYTES = 92_000  # of the first look, as they lie in the package


@pytest.fixture(params=["export", "catalog", "zarr"])
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return page_files(request.param)


def test_index_says_what_lies_beside_it() -> None:
    for kind in ("export", "catalog", "zarr"):
        index = page_files(kind)["index.html"].decode()
        assert f'<meta name="cellucid-dask" content="{kind}">' in index
        assert "{{" not in index


def test_every_file_is_in_the_folder_of_the_version(files: dict[str, bytes]) -> None:
    others = [PurePosixPath(path) for path in files if path != "index.html"]
    assert {path.parts[0] for path in others} == {"_page"}
    (version,) = {path.parts[1] for path in others}
    assert re.fullmatch("[0-9a-f]{12}", version)


def test_what_the_index_names_is_there(files: dict[str, bytes]) -> None:
    named = re.findall(r'(?:src|href)="(_page/[^"]+)"', files["index.html"].decode())
    assert len(named) == 3
    assert set(named) <= set(files)


def test_what_modules_import_is_there(files: dict[str, bytes]) -> None:
    for path, data in files.items():
        if path.endswith(".js"):
            folder = PurePosixPath(path).parent
            for name in re.findall(r'(?:from|import\() ?"\./([^"]+)"', data.decode()):
                assert str(folder / name) in files, (path, name)


def test_the_first_look_is_small(files: dict[str, bytes]) -> None:
    """What is fetched before anything is opened: what the index names, imports and the worker."""
    found = {"index.html"}
    todo = re.findall(r'(?:src|href)="(_page/[^"]+)"', files["index.html"].decode())
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            names = re.findall(r'(?:from |URL\()"(?:\./)?(\w+\.js)"', files[path].decode())
            todo += [str(PurePosixPath(path).parent / name) for name in names]
    opened = {
        "zarr.js",
        "analysis.js",
        "lasso.js",
        "dots.js",
        "overlays.js",
        "measures.js",
        "save.js",
    }
    assert {path.rpartition("/")[2] for path in found} > {"main.js", "worker.js", "style.css"}
    assert not opened.intersection(path.rpartition("/")[2] for path in found)
    assert sum(len(files[path]) for path in found) < MOST_BYTES


def test_nothing_is_fetched_from_elsewhere(files: dict[str, bytes]) -> None:
    for path, data in files.items():
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://\w", text), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", text), path


def test_policy_allows_only_the_page_itself(files: dict[str, bytes]) -> None:
    (policy,) = re.findall(
        r'Content-Security-Policy" content="([^"]+)"', files["index.html"].decode()
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == rules["worker-src"] == "'self'"


def test_modules_are_short(files: dict[str, bytes]) -> None:
    for path, data in files.items():
        if path.endswith(".js"):
            assert data.count(b"\n") <= 200, path
