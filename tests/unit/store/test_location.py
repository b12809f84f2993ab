"""One location: of a local disk and of a store alike."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.asyn import get_loop
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.location import Location
from cellucid_dask.store.scratch import Scratch, open_scratch
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import call, fetch_ranges


@pytest.fixture(params=["local", "store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "local":
        yield Target.of(tmp_path / "out")
        return
    yield Target.of(f"memory://{tmp_path.name}/out")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.mark.parametrize(
    ("given", "url", "name"),
    [
        ("s3://bucket/atlas", "s3://bucket/atlas", "atlas"),
        ("s3://bucket/a/b.zarr//", "s3://bucket/a/b.zarr", "b.zarr"),
        ("s3://bucket", "s3://bucket", "bucket"),
        ("https://host/a.h5ad?sig=x/y/", "https://host/a.h5ad?sig=x/y/", "a.h5ad"),
        ("file:///data/a.h5ad", "/data/a.h5ad", "a.h5ad"),
        ("/data/a#b?c/", "/data/a#b?c", "a#b?c"),
        ("/", "/", ""),
        ("~/a", f"{Path.home()}/a", "a"),
        ("a/b", f"{Path.cwd()}/a/b", "b"),
    ],
)
def test_of(given: str, url: str, name: str) -> None:
    location = Location.of(given)
    assert (location.url, location.name) == (url, name)
    assert location.is_local == url.startswith("/")
    assert location.parent == (os.path.dirname(url) if url.startswith("/") else None)  # noqa: PTH120


def test_options_are_not_shown_and_the_open_store_is_not_sent() -> None:
    target = Target.of("memory://a/b", {"secret": "hush"})
    assert "hush" not in repr(target)
    assert target.path("c") == "/a/b/c"
    sent = pickle.loads(pickle.dumps(target))  # noqa: S301
    assert sent == target
    assert vars(sent) == {"url": "memory://a/b", "storage_options": {"secret": "hush"}}


def test_listing_and_removing(target: Target) -> None:
    assert target.names("var") == set()
    assert target.tree() == {}
    target.put({"a.json": b"{}", "var/x": b"12", "var/y": b"123", "obs/z": b"1"})
    assert target.names() == {"a.json"}
    assert target.names("var", "nowhere") == {"a.json", "var/x", "var/y"}
    assert target.folders() == {"var", "obs"}
    assert {name: size for name, (size, _) in target.files("var").items()} == {
        "var/x": 2, "var/y": 3,
    }  # fmt: skip
    assert target.tree() == {"a.json": 2, "var/x": 2, "var/y": 3, "obs/z": 1}
    target.remove(["var/x", "var/nowhere"])
    assert target.names("var") == {"a.json", "var/y"}


def test_reading(target: Target) -> None:
    target.put({"x": b"0123456789", "y": b"abc", "empty": b""})
    assert target.read("x") == b"0123456789"
    assert target.read("nowhere") is None
    assert target.read_many(["y", "nowhere", "empty", "x"]) == [b"abc", b"", b"0123456789"]
    assert target.read_many([]) == []
    assert target.read_ranges([("x", 2, 5), ("y", 0, 1), ("x", 9, 10)]) == [b"234", b"a", b"9"]
    found = target.fetch({"x": 9, "y": 3, "empty": 0, "nowhere": 1})
    assert (found["y"], found["empty"]) == (b"abc", b"")
    assert isinstance(found["x"], OSError)
    assert "larger than any file of its kind" in str(found["x"])
    assert isinstance(found["nowhere"], FileNotFoundError)


def test_range_beyond_the_end_is_refused(target: Target) -> None:
    target.put({"x": b"0123456789"})
    with pytest.raises(ExportError, match=r"out/x is truncated: it ends before byte 11\."):
        target.read_ranges([("x", 0, 4), ("x", 8, 11)])


def test_range_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    target = Target.of(f"memory://{tmp_path.name}")
    target.put({"x": b"0123"})
    with pytest.raises(ExportError, match=rf"^memory://{tmp_path.name}/y does not exist"):
        target.read_ranges([("x", 0, 4), ("y", 0, 4)])


def test_only_one_creates_a_file(target: Target) -> None:
    assert target.create("lease", b"mine")
    assert not target.create("lease", b"theirs")
    assert target.create("lease", b"mine")  # as after an answer that was lost
    assert target.read("lease") == b"mine"


def test_errors_are_explained_once() -> None:
    location = Location("s3://b/a", {"secret": "hush-hush"})
    with (
        pytest.raises(ExportError, match=r"^s3://b/a could not be read: no \*\*\* here\. So\.$"),
        location.explaining("written to"),
        location.explaining("read", "So."),
    ):
        raise ValueError("no hush-hush here.")
    with pytest.raises(RequestError, match=r"^as it is$"), location.explaining("read"):
        raise RequestError("as it is")
    with pytest.raises(MemoryError), location.explaining("read"):
        raise MemoryError
    with pytest.raises(ExportError, match="resume"), Target("/a").explaining_writes():
        raise PermissionError


def test_scratch_says_that_it_is_scratch(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^Scratch at .* does not exist.*scratch\.$"):
        Scratch(str(tmp_path / "nowhere")).write("a", [])


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_scratch_is_removed(tmp_path: Path, scheme: str) -> None:
    fs = fsspec.filesystem("memory")
    with open_scratch(f"{scheme}{tmp_path}", None, 1, {}) as scratch:
        with scratch._open("a") as out:
            out.write(b"0123")
        assert scratch.read_ranges([("a", 1, 3)]) == [b"12"]
        assert scratch.nbytes() >= 4
        assert scratch.is_local != scheme.startswith("memory")
        there = fs.find(str(tmp_path)) if scheme == "memory://" else list(tmp_path.iterdir())
        assert there
    assert not fs.find(str(tmp_path))
    assert not list(tmp_path.iterdir())


class Flaky:
    """A client whose answers are given in advance, by path."""

    loop = None

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int, int]] = []

    async def get(self, path: str, start: int, stop: int) -> bytes:
        self.asked.append((path, start, stop))
        answer = self.answers[path].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer[start:stop]


def test_only_what_fails_for_a_moment_is_read_again() -> None:
    gone = FileNotFoundError("c")
    client = Flaky({"a": [b"1"], "b": [TimeoutError(), TimeoutError(), b"2"], "c": [gone]})
    waited: list[float] = []
    ranges = [("a", 0, 1), ("b", 0, 1), ("c", 0, 1)]
    assert fetch_ranges(client, ranges, waited.append) == [b"1", b"2", gone]
    assert [path for path, *_ in client.asked] == ["a", "b", "b", "b", "c"]
    assert len(waited) == 2


def test_reading_again_comes_to_an_end() -> None:
    errors = [TimeoutError() for _ in range(10)]
    client = Flaky({"a": list(errors)})
    waited: list[float] = []
    assert fetch_ranges(client, [("a", 0, 1)], waited.append) == [errors[5]]
    assert len(client.asked) == 6
    assert sum(waited) < 75


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.integers(0, 2**22), st.integers(0, 2**17)
        ).map(lambda each: (each[0], each[1], each[1] + each[2])),
        max_size=30,
    )
)  # fmt: skip
def test_neighbors_are_read_by_one_request(ranges: list[tuple[str, int, int]]) -> None:
    content = np.random.default_rng(0).bytes(2**22 + 2**16)
    client = Flaky({"a": [content] * len(ranges), "b": [content[::-1]] * len(ranges)})
    found = fetch_ranges(client, ranges)
    for data, (path, start, stop) in zip(found, ranges, strict=True):
        assert bytes(data) == (content if path == "a" else content[::-1])[start:stop]
    spans = sorted(client.asked)
    for (path, _, end), (next_path, begin, _) in pairwise(spans):
        assert path != next_path or begin > end  # no byte is asked for twice
    wanted = sum(stop - start for _, start, stop in set(ranges))
    assert sum(stop - start for _, start, stop in spans) <= wanted + 2**16 * len(ranges)


def test_many_small_ranges_are_few_requests() -> None:
    content = bytes(20 * 2**20)
    ranges = [("a", start, start + 1000) for start in range(0, 20 * 2**20, 1100)]
    client = Flaky({"a": [content] * 5})
    assert len(fetch_ranges(client, ranges)) == len(ranges)
    assert len(client.asked) == 3
    assert max(stop - start for _, start, stop in client.asked) <= 8 * 2**20


class Down:
    """A client of a store that answers in a while, or never."""

    def __init__(self, answers: list[Any]) -> None:
        self.loop, self.gave_up, self.n_asked = get_loop(), False, 0
        self.answers = answers

    async def get(self, *_: Any) -> Any:
        self.n_asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_store_that_was_given_up_is_asked_once() -> None:
    client = Down([TimeoutError()] * 4 + [FileNotFoundError()] + [TimeoutError(), b"1"])

    def ask(seconds: float) -> Any:
        return call(client, lambda: client.get("a"), seconds)

    with pytest.raises(TimeoutError):
        ask(1)
    given_up = client.n_asked
    assert given_up > 1
    client.answers = [TimeoutError(), FileNotFoundError(), TimeoutError(), b"1"]
    with pytest.raises(TimeoutError):
        ask(60)
    assert client.n_asked == given_up + 1
    with pytest.raises(FileNotFoundError):  # that is an answer
        ask(60)
    assert ask(60) == b"1"
    assert client.n_asked == given_up + 4
