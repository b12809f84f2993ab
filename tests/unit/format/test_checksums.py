"""Digests of files are computed where something will compare them."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import pytest

from cellucid_dask.format.checksums import FileDigest, parse, to_text
from cellucid_dask.format.decode import DamageError
from cellucid_dask.kernel.files import checksum
from cellucid_dask.output.cellucid_zarr.arrays import Hierarchy
from cellucid_dask.store.target import Target

CONTENT = b"codes of a gene"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def test_digests_of_a_content() -> None:
    assert FileDigest.of(CONTENT, MD5) == (len(CONTENT), SHA256, MD5)
    assert FileDigest.of(CONTENT) == (len(CONTENT), SHA256, "")
    assert FileDigest.size_of(CONTENT) == (len(CONTENT), "", "")


@pytest.mark.parametrize("is_local", [True, False])
def test_digests_of_what_is_written_at_once(tmp_path: Path, *, is_local: bool) -> None:
    url = str(tmp_path) if is_local else f"memory://{tmp_path}"
    target = Target.of(url, {})
    store = Hierarchy.in_target(target)
    store.put("obsp/data/0", CONTENT)
    assert store.files == {"obsp/data/0": (len(CONTENT), SHA256, target.tag(CONTENT))}
    assert target.tag(CONTENT) == (checksum(CONTENT) if is_local else MD5)
    assert target.read("obsp/data/0") == CONTENT


def test_lines_are_read_as_they_are_written() -> None:
    checksums = {"var/a b.gz": SHA256, "obs/x\u2028.gz": SHA256, "var/a": SHA256}
    assert parse(to_text(checksums)) == checksums
    assert parse(b"") == {}


LINE = f"{SHA256}  var/a\n".encode()


@pytest.mark.parametrize(
    "data",
    [
        LINE[:-1], LINE + LINE, LINE + LINE.replace(b"var", b"obs"), b"\n" + LINE, LINE + b"\n",
        LINE.upper(), LINE.replace(b"/", b"\\"), LINE.replace(b"a\n", b"\xff\n"), LINE[1:],
        LINE.replace(b"  ", b" *"), LINE + b"x" + LINE.replace(b"/a", b"/b"),
    ],
)  # fmt: skip
def test_other_lines_are_refused(data: bytes) -> None:
    with pytest.raises(DamageError, match="is not a list of checksums"):
        parse(data)


def test_a_line_takes_little_more_memory_than_what_it_says() -> None:
    data = to_text({f"_page/{number:06}": SHA256 for number in range(50_000)})
    tracemalloc.start()
    assert len(parse(data)) == 50_000
    assert tracemalloc.get_traced_memory()[1] < 320 * 50_000
    tracemalloc.stop()
