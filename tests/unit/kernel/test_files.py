"""Local files are read, written and compared many in one call; what hinders one ends it there."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from cellucid_dask.kernel.files import Checksum, checksum, file_checksums, read_ranges, write_files

_PIECE = 2**16  # bytes that the kernel adds to a checksum at once


def test_ranges_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    (tmp_path / "b").write_bytes(b"xyz")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    found = read_ranges([(a, 3, 14), (a, 0, 8), (b, 1, 3), (b, 2, 2), (a, 99, 100)])
    assert len(found) == 5
    assert [part.tobytes() for part in found] == [
        bytes(range(3, 14)), bytes(range(8)), b"yz", b"", b"c",
    ]  # fmt: skip
    assert all(part.ctypes.data % 8 == 0 for part in found if part.size)


@pytest.mark.parametrize("kind", ["short", "missing", "link", "folder"])
def test_what_cannot_be_read_is_counted(tmp_path: Path, kind: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(bytes(8))
    if kind == "short":
        bad.write_bytes(bytes(7))
    elif kind == "link":
        bad.symlink_to(good)
    elif kind == "folder":
        bad.mkdir()
    found = read_ranges([(str(good), 0, 8), (str(bad), 0, 8), (str(good), 0, 8)])
    assert [part.tobytes() for part in found] == [bytes(8)]


def _paths(folder: Path, *names: str) -> list[str]:
    return [str(folder / name) for name in names]


def test_files_are_written_whole(tmp_path: Path) -> None:
    contents = [b"a", b"", memoryview(bytes(range(256)) * 1000)]
    names = _paths(tmp_path, "one", "tw\N{LATIN SMALL LETTER O WITH DIAERESIS}", "three")
    assert write_files(_paths(tmp_path, ".1", ".2", ".3"), names, contents) == 3
    assert [Path(name).read_bytes() for name in names] == contents
    assert len(list(tmp_path.iterdir())) == 3
    old_umask = os.umask(0)
    os.umask(old_umask)
    assert Path(names[0]).stat().st_mode & 0o777 == 0o666 & ~old_umask


def test_what_is_there_is_replaced_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"not ours")
    (tmp_path / "a").symlink_to("elsewhere")
    (tmp_path / "b").write_bytes(b"old and longer")
    assert write_files(_paths(tmp_path, ".1", ".2"), _paths(tmp_path, "a", "b"), [b"A", b"B"]) == 2
    assert (tmp_path / "elsewhere").read_bytes() == b"not ours"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "b").read_bytes() == b"B"


@pytest.mark.parametrize("kind", ["folder", "missing folder", "unfinished", "unfinished link"])
def test_a_file_that_cannot_be_written_ends_the_call(tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "bad"
    (tmp_path / "elsewhere").write_bytes(b"not ours")
    match kind:
        case "folder":
            bad.mkdir()
        case "missing folder":
            bad = tmp_path / "folder/bad"
        case "unfinished":
            (tmp_path / ".2").write_bytes(b"not ours")
        case "unfinished link":
            (tmp_path / ".2").symlink_to("elsewhere")
    names = [str(tmp_path / "good"), str(bad), str(tmp_path / "later")]
    assert write_files(_paths(tmp_path, ".1", ".2", ".3"), names, [b"x"] * 3) == 1
    assert (tmp_path / "good").read_bytes() == b"x"
    assert not (tmp_path / "later").exists()
    assert (tmp_path / "elsewhere").read_bytes() == b"not ours"
    if "folder" in kind:
        assert not (tmp_path / ".2").exists()


def test_a_file_that_becomes_too_large_ends_the_call(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        names = _paths(tmp_path, "small", "large", "later")
        unfinished = _paths(tmp_path, ".1", ".2", ".3")
        assert write_files(unfinished, names, [bytes(10), bytes(2000), bytes(10)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [each.name for each in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 31, 32, 33, _PIECE - 1, _PIECE, _PIECE + 1, 200_001])
def test_checksum_of_a_file_is_that_of_its_content(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    (tmp_path / "file").write_bytes(content)
    (found,) = file_checksums(_paths(tmp_path, "file"), [size])
    assert found == checksum(content) == checksum(memoryview(content))
    for at in {0, size // 2, size - 1} if size else ():
        changed = bytearray(content)
        changed[at] ^= 1
        assert checksum(changed) != found
    assert checksum(content + b"\0") != found


@pytest.mark.parametrize("part", [1000, _PIECE, _PIECE + 5, 3 * _PIECE])
def test_checksum_of_content_in_parts(part: int) -> None:
    content = np.random.default_rng(0).integers(0, 256, 200_001, dtype=np.uint8).tobytes()
    running = Checksum()
    assert running.hexdigest() == checksum(b"")
    for start in range(0, len(content), part):
        running.update(content[start : start + part])
        assert running.hexdigest() == checksum(content[: start + part])


def test_order_of_pieces_counts() -> None:
    a, b = bytes(_PIECE), bytes([1]) * _PIECE
    assert len({checksum(each) for each in (a + b, b + a, a + a, a, b, b"")}) == 6


@pytest.mark.parametrize("kind", ["shorter", "longer", "missing", "link", "folder", "pipe"])
def test_a_file_of_another_size_or_kind_ends_the_call(tmp_path: Path, kind: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(bytes(8))
    match kind:
        case "shorter":
            bad.write_bytes(bytes(7))
        case "longer":
            bad.write_bytes(bytes(9))
        case "link":
            bad.symlink_to(good)
        case "folder":
            bad.mkdir()
        case "pipe":
            os.mkfifo(bad)
    assert len(file_checksums(_paths(tmp_path, "good", "bad", "good"), [8, 8, 8])) == 1


def test_a_path_does_not_end_at_a_null_byte(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        write_files([str(tmp_path / ".1")], [f"{tmp_path}/a\0b"], [b"x"])
    with pytest.raises(ValueError, match="null"):
        file_checksums([f"{tmp_path}/a\0b"], [1])
    assert not list(tmp_path.iterdir())
