"""A file that is read here and there holds the bytes of its object, in few requests."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.store.blocks import BlockReader
from cellucid_dask.store.client import Entry

CONTENT = np.random.default_rng(0).bytes(1000)


class Kept:
    """A client that has one object, and counts what is asked of it."""

    loop = None

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.asked = content, 0

    async def info(self, path: str) -> Entry:
        return Entry(path, len(CONTENT))

    async def get(self, _: str, start: int, stop: int) -> bytes:
        self.asked += 1
        return self.content[start:stop]


@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 400)), max_size=20))
def test_like_any_other_file(reads: list[tuple[int, int]]) -> None:
    file, other = BlockReader(Kept(), "a", 64, 3), io.BytesIO(CONTENT)
    for start, size in reads:
        assert file.seek(start) == other.seek(start)
        assert file.read(size) == other.read(size)
        assert file.tell() == other.tell()
        buffer = bytearray(size)
        file.seek(start)
        n_read = file.readinto(buffer)  # whole: HDF5 takes what is missing for zeros
        assert buffer[:n_read] == CONTENT[start : start + size]


def test_blocks_are_kept() -> None:
    client = Kept()
    file = BlockReader(client, "a", 100, 4)
    for _ in range(3):
        for start in (10, 350, 20, 90):
            file.seek(start)
            file.read(20)
    assert client.asked == 3
    assert file.seek(-10, os.SEEK_END) == 990
    assert file.read() == CONTENT[-10:]


def test_bytes_that_are_missing() -> None:
    file = BlockReader(Kept(CONTENT[:500]), "a", 100)
    file.seek(480)
    with pytest.raises(OSError, match="100 bytes are missing"):
        file.read(100)
