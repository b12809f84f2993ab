"""A local path is not a URL, and what may be either, or nothing, is refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from cellucid_dask.errors import RequestError
from cellucid_dask.secrets import shown
from cellucid_dask.store.address import is_address, parse_address
from cellucid_dask.store.location import Location
from cellucid_dask.store.preflight import check_apart


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("exp::v2", "{cwd}/exp::v2"),
        ("zip::a", "{cwd}/zip::a"),
        ("run 3: final", "{cwd}/run 3: final"),
        ("2024:a", "{cwd}/2024:a"),
        ("./s3:b", "{cwd}/s3:b"),
        ("/data/s3:/b", "/data/s3:/b"),
        ("s3", "{cwd}/s3"),
        (b"a b", "{cwd}/a b"),
        ("a/../b", "{cwd}/b"),
        ("file:///data/a::b", "/data/a::b"),
        ("file://localhost/data/a", "/data/a"),
        ("local:///data/a", "/data/a"),
        ("zip://a::simplecache::s3://b/a.zip", "zip://a::simplecache::s3://b/a.zip"),
        ("zip://::file:///a.zip", "zip://::file:///a.zip"),
        ("simplecache::https://host/a.h5ad", "simplecache::https://host/a.h5ad"),
        ("memory:///a/", "memory:///a"),
    ],
)
def test_what_is_meant(given: Any, means: str) -> None:
    url, options = parse_address(given)
    assert url == means.format(cwd=os.path.realpath(Path.cwd()))
    assert not options
    assert Location.of(given).is_local == ("://" not in means)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("", "variable"),
        ("  ", "variable"),
        ("s3://", "names no location .* s3://bucket/folder"),
        ("gs:///x", "names no location"),
        ("memory://", "names no location"),
        ("https://", "names no location"),
        ("s3:/bucket/x", "write s3://bucket/x as text, or a local path as /"),
        ("s3:bucket", "write s3://bucket as text"),
        ("file:/x", "write /x as text, or a local path as /"),
        (Path("s3://bucket/x"), "write s3://bucket/x as text"),
        (PurePosixPath("https://host/x?sig=hush"), "write https://host/x.* as text"),
        ("file://data/x", "write /.*/data/x"),
        ("file://", "is relative"),
        ("local://a::b", "is relative"),
        ("nowhere://bucket/x", "there is no store of the protocol 'nowhere'"),
        ("S3://bucket/x", "there is no store of the protocol 'S3'"),
        ("s3://bucket/exp::v2", "name without it"),
        ("memory://a::b", "name without it"),
        ("zip://a::s3", "name without it"),
        ("exp::s3://bucket/x", "there is no store of the protocol 'exp'"),
        ("https://me:hush@host/x", "storage option"),
        ("zip://::https://me:hush@host/x", "storage option"),
    ],
)
def test_refused(given: Any, remedy: str) -> None:
    with pytest.raises(RequestError, match=remedy) as refusal:
        Location.of(given)
    assert "hush" not in str(refusal.value)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_an_absolute_path_is_taken_to_the_letter(text: str) -> None:
    assert Location.of(f"/{text}").url == os.path.realpath(f"/{text}")


def test_links_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "latest").symlink_to("v1")
    location = Location.of(tmp_path / "latest/../latest/a")
    assert location.url == str(tmp_path.resolve() / "v1/a")


def test_upath_brings_its_options() -> None:
    path = UPath("s3://a/b", anon=True, endpoint_url="http://x") / "c"
    assert is_address(path)
    location = Location.of(path, {"endpoint_url": "http://y"})
    assert location.url == "s3://a/b/c"
    assert location.storage_options == {"anon": True, "endpoint_url": "http://y"}


def test_upath_on_the_local_disk(tmp_path: Path) -> None:
    for path in (UPath(tmp_path / "a"), UPath(f"file://{tmp_path}/a")):
        location = Location.of(path)
        assert (location.url, location.storage_options) == (str(tmp_path.resolve() / "a"), {})


@pytest.mark.parametrize(
    ("path", "url", "options"),
    [
        (
            UPath("zip://a.zarr::s3://b/a.zip", s3={"anon": True}),
            "zip://a.zarr::s3://b/a.zip", {"s3": {"anon": True}},
        ),
        (UPath("zip://a.h5ad::/b/a.zip"), "zip://a.h5ad::file:///b/a.zip", {}),
        (UPath("zip://a.h5ad", fo="/b/a.zip"), "zip://a.h5ad::file:///b/a.zip", {}),
        (UPath("zip://a.h5ad", fo="s3://b/a.zip"), "zip://a.h5ad::s3://b/a.zip", {}),
    ],
)  # fmt: skip
def test_upath_of_a_chain(path: UPath, url: str, options: dict[str, Any]) -> None:
    location = Location.of(path)
    assert (location.url, location.storage_options) == (url, options)


@pytest.mark.parametrize("value", [3, None, {"path": 1}, object()])
def test_other_things_are_no_address(value: Any) -> None:
    assert not is_address(value)
    with pytest.raises(RequestError, match="pass a path or URL"):
        Location.of(value)


def test_signatures_are_not_shown() -> None:
    assert shown("https://h/a.h5ad?sig=hush&x=1") == "https://h/a.h5ad?..."
    assert shown("/data/what?.h5ad") == "/data/what?.h5ad"
    assert str(Location.of("https://h/a?sig=hush")) == "https://h/a?..."


@pytest.mark.parametrize(
    ("source", "target", "apart"),
    [
        ("/d/a.zarr", "/d/a.zarr", False),
        ("/d/a.zarr", "/d/a.zarr/out", False),
        ("/d/a.zarr", "/d", False),
        ("/d/a.h5ad", "/d", False),
        ("/d/a.zarr", "/d/b/../a.zarr", False),
        ("/d/a.zarr", "/d/a.zarr2", True),
        ("/d/a.h5ad", "/d/a", True),
        ("memory://d/a.zarr", "memory:///d/a.zarr", False),
        ("memory://d/a.zarr", "memory://d/a.zarr/x", False),
        ("memory://d/a.zarr", "memory://d", False),
        ("memory://d/a.zarr", "memory://d/a", True),
        ("memory://d/a.zarr", "/d/a.zarr", True),
        ("/d/a.zarr", "file:///d/a.zarr", False),
    ],
)
def test_source_and_target_are_apart(source: str, target: str, apart: bool) -> None:
    places = Location.of(target), Location.of(source)
    if apart:
        check_apart(*places)
    else:
        with pytest.raises(RequestError, match="of its own for the export"):
            check_apart(*places)


def test_buckets_of_two_servers_are_apart() -> None:
    pytest.importorskip("s3fs")
    here, there = ({"anon": True, "endpoint_url": f"http://{host}"} for host in ("a", "b"))
    source = Location.of("s3://cells/x", here)
    check_apart(Location.of("s3://cells/x", there), source)
    for scheme in ("s3", "s3a"):
        with pytest.raises(RequestError, match="is the source"):
            check_apart(Location.of(f"{scheme}://cells/x/out", here), source)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/atlas", "s3://bucket/atlas"),
        ("https://host/a.h5ad?X-Amz-Signature=abc&b=1", "https://host/a.h5ad?..."),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://acct.blob.core.windows.net/c/a.h5ad?sv=1&sig=abc", "https://acct.blob.core.windows.net/c/a.h5ad?..."),
        ("github://token@org/repo", "github://...@org/repo"),
        ("https://host/a#access_token=abc", "https://host/a#..."),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("zip://x::https://token@host/a.zip?sig=1", "zip://x::https://...@host/a.zip?..."),
        ("/local/what?is#this", "/local/what?is#this"),
    ],
)  # fmt: skip
def test_secrets_of_a_url_are_not_shown(url: str, expected: str) -> None:
    assert shown(url) == expected


@pytest.mark.parametrize("url", ["https://me:pass/word@host/x", "ftp://me:p@host/x"])
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_address(url)
    assert "pass/word" not in str(refusal.value)
    assert "storage option" in str(refusal.value)
