"""The metadata of a remote HDF5 file are read in few waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import h5py
import numpy as np
import pytest
from fsspec.asyn import get_loop

from cellucid_dask.source import hdf5
from cellucid_dask.source.hdf5_remote import RemoteHdf5, children
from cellucid_dask.store.client import Entry
from cellucid_dask.store.location import Location


class Far:
    """A client of one file that counts how often somebody waits for it."""

    def __init__(self, path: Path) -> None:
        self.loop, self.gave_up = get_loop(), False
        self.content = path.read_bytes()
        self.waits = self.under_way = 0

    async def info(self, path: str) -> Entry:
        self.waits += 1
        return Entry(path, len(self.content))

    async def get(self, _: str, start: int, stop: int) -> bytes:
        self.waits += not self.under_way
        self.under_way += 1
        await asyncio.sleep(0.002)
        self.under_way -= 1
        return self.content[start:stop]


@pytest.mark.parametrize(("shape", "chunk"), [((3_000_000,), 200), ((4_000, 600), (20, 20))])
def test_an_index_of_many_chunks(tmp_path: Path, shape: tuple[int, ...], chunk: int) -> None:
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).integers(0, 200, shape, np.int32)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=chunk, compression="gzip")
        file["y"] = np.arange(10)
    far = Far(path)
    with RemoteHdf5(far, "a.h5", 4096) as remote, h5py.File(remote, "r") as file:
        found = hdf5.reader(file["x"], Location("memory://a.h5"))
        assert file["y"][:].tolist() == list(range(10))
    with h5py.File(path) as file:
        expected = hdf5.reader(file["x"], Location(str(path)))
    assert len(found.offsets) > 5_000
    assert np.array_equal(found.offsets, expected.offsets)
    assert np.array_equal(found.sizes, expected.sizes)
    assert far.waits <= 12


@pytest.mark.parametrize(
    "node", [b"", b"TREE", bytes(2096), b"TREE\x00" + bytes(2091), b"TREE\x01\x00" + bytes(2090)]
)
def test_other_bytes(node: bytes) -> None:
    assert children(node) == []
