"""Chunks read straight from the file are what h5py reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cellucid_dask import ExportError
from cellucid_dask.source import hdf5
from cellucid_dask.store.location import Location

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"chunks": True},
    {"chunks": True, "compression": "gzip"},
    {"chunks": True, "compression": "gzip", "shuffle": True},
    {"chunks": True, "shuffle": True},
    {"chunks": True, "compression": "lzf"},
    {"chunks": True, "compression": "gzip", "fletcher32": True},
]


def open_reader(dataset: h5py.Dataset) -> Any:
    return hdf5.reader(dataset, Location(str(dataset.file.filename)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(layout) or "contiguous")
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(1000,), (57, 43)])
def test_any_dataset(
    tmp_path: Path, layout: dict[str, Any], dtype: str, shape: tuple[int, ...]
) -> None:
    values = (np.random.default_rng(0).random(shape) * 3).astype(dtype)
    options = {**layout, "chunks": (20, 10)[: len(shape)]} if layout else {}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        reader = open_reader(file["x"])
        for start, stop in [(0, shape[0]), (3, 4), (7, 55), (40, 40), (20, 999)]:
            np.testing.assert_array_equal(reader[start:stop], values[start:stop])
        if len(shape) == 2:
            np.testing.assert_array_equal(reader[3:50, 5:31], values[3:50, 5:31])
        assert reader[0:2].dtype.isnative


def test_fast_readers_are_used(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("plain", data=np.arange(10))
        file.create_dataset("gzip", data=np.arange(10), compression="gzip")
        file.create_dataset("lzf", data=np.arange(10), compression="lzf")
    with h5py.File(tmp_path / "a.h5") as file:
        assert isinstance(open_reader(file["plain"]), hdf5.ContiguousDataset)
        assert isinstance(open_reader(file["gzip"]), hdf5.ChunkedDataset)
        assert isinstance(open_reader(file["lzf"]), hdf5.LibraryDataset)


def test_chunks_never_written_hold_the_fill_value(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (100,), "f4", chunks=(10,), fillvalue=7, compression="gzip")
        file["x"][35:40] = 1
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(open_reader(file["x"])[0:100], file["x"][:])


@pytest.mark.parametrize("options", [{"compression": "gzip", "shuffle": True}, {}])
def test_grid_with_chunks_never_written(tmp_path: Path, options: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (50, 30), ">f4", chunks=(7, 8), fillvalue=np.nan, **options)
        file["x"][10:12, 9:20] = 2
    expected = np.full((50, 30), np.nan, np.float32)
    expected[10:12, 9:20] = 2
    with h5py.File(tmp_path / "a.h5") as file:
        reader = open_reader(file["x"])
        np.testing.assert_array_equal(reader[0:50], expected)
        np.testing.assert_array_equal(reader[11:40, 8:21], expected[11:40, 8:21])


def test_contiguous_and_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (50, 3), ">i4", fillvalue=-4)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(open_reader(file["x"])[2:7], np.full((5, 3), -4))


def test_compact(tmp_path: Path) -> None:
    values = np.arange(40, dtype=">f8").reshape(8, 5)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(values.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dtype = h5py.h5t.py_create(values.dtype)
        h5py.h5d.create(file.id, b"x", dtype, space, plist).write(
            h5py.h5s.ALL, h5py.h5s.ALL, values
        )
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        found = open_reader(file["x"])[2:7, 1:3]
    np.testing.assert_array_equal(found, values[2:7, 1:3])
    assert found.dtype.isnative


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0)])
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 3)}, {"compression": "gzip"}])
def test_empty(tmp_path: Path, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    if options:
        chunks = (2, 3)[: len(shape)]
        options = {**options, "chunks": chunks, "maxshape": (None,) * len(shape)}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", shape, ">f4", **options)
    with h5py.File(tmp_path / "a.h5") as file:
        found = open_reader(file["x"])[0 : shape[0]]
    assert found.shape == shape
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (5_000,)}, {"chunks": (5_000,), "compression": "gzip"}]
)
def test_file_cut_short(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(0).random(100_000), **options)
    with h5py.File(path) as file:
        reader = open_reader(file["x"])
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(ExportError, match="truncated"):
        reader[0:100_000]


@pytest.mark.parametrize(
    ("offset", "size"), [(2**64 - 2, 10), (2**63 + 5, 10), (2**40, 10), (100, 2**62), (100, 2**40)]
)
def test_an_index_that_claims_more_than_the_file_has(
    tmp_path: Path, offset: int, size: int
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=np.arange(100), chunks=(10,), compression="gzip")
        reader = open_reader(dataset)
    reader.offsets[3], reader.sizes[3] = offset, size
    with pytest.raises(ExportError, match=f"is truncated: it ends before byte {offset + size:,}"):
        reader[0:100]
    np.testing.assert_array_equal(reader[0:30], np.arange(30))


@pytest.mark.parametrize("n_others", [0, 1, 3])
def test_other_handles_of_a_dataset_stay_good(tmp_path: Path, n_others: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.arange(100.0), chunks=10, compression="gzip")
    with h5py.File(path) as file:
        others = [file["a"] for _ in range(n_others)]
        found = hdf5.reader(file["a"], Location(str(path)))
        np.testing.assert_array_equal(found[5:25], np.arange(5.0, 25.0))
        while others:
            assert h5py.h5f.get_obj_count(file.id, h5py.h5f.OBJ_DATASET) == len(others)
            np.testing.assert_array_equal(others.pop()[5:25], np.arange(5.0, 25.0))
