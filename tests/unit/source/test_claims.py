"""What an array says of its size is held against what there is, before memory is taken."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numcodecs
import numpy as np
import pytest
import zarr
from google_crc32c import value as crc32c

import cellucid_dask
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.source import open_source
from cellucid_dask.source.claims import check_chunks, check_rows, check_stored
from cellucid_dask.source.filters import check_inflation
from cellucid_dask.source.hdf5_heaps import has_large_texts
from cellucid_dask.source.reading import UnreadableError
from cellucid_dask.source.zarr_codecs import check_length as check_codec
from cellucid_dask.source.zarr_store import bounded
from tests.export.refusing import refused
from tests.helpers import (
    SETTINGS,
    edit_json,
    make_nullable,
    small_anndata,
    write_h5ad,
    write_zarr,
)
from tests.viewer_reader import check

NAMES = [
    "X/data",
    "obs/_index",
    "obs/_index/values",
    "var/_index",
    "var/_index/values",
    "obs/depth",
]
CODECS: dict[str, Any] = {
    "zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc(), "lz4": numcodecs.LZ4(),
    "gzip": numcodecs.GZip(), "zlib": numcodecs.Zlib(), "bz2": numcodecs.BZ2(),
}  # fmt: skip


def test_stored() -> None:
    check_stored("X", (1000, 1000), 1, 0, 1100)
    check_stored("X", (10**9,), 4, 4 * 10**9, 1)
    with pytest.raises(UnreadableError, match="X is damaged: it says that it has 4,000,000,0"):
        check_stored("X", (10**12,), 4, 10**6, 1100)
    with pytest.raises(UnreadableError, match="damaged"):
        check_stored("X", (2**62, 2**62), 8, 10**9, 2**17)


def test_chunks_and_lengths() -> None:
    check_chunks("X", (100, 3), (10**6, 3), 4)  # room to grow
    check_chunks("X", (10**6, 3000), (10**6, 3000), 4)
    with pytest.raises(UnreadableError, match="chunks of 2,147,483,648 bytes"):
        check_chunks("X", (100,), (2**29,), 4)
    check_rows("obs/a", 3, 3)
    with pytest.raises(RequestError, match="obs/a has 1,000,000 rows, but there are 3 cells"):
        check_rows("obs/a", 10**6, 3)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("values", [bytes(100_000), np.random.default_rng(0).bytes(100_000)])
def test_compressed_length(name: str, values: bytes) -> None:
    packed = bytes(CODECS[name].encode(values))
    check_codec(name, packed, len(values))
    for short in (0, 10, len(values) - 1):
        with pytest.raises(ValueError, match="would have"):
            check_codec(name, packed, short)


def test_frames_without_length() -> None:
    """As programs write that do not know it; a raw block of 4 zero bytes, three times."""
    block = (4 << 3 | 1 << 1 | 0).to_bytes(3, "little") + b"\0"  # repeats one byte
    frame = (
        b"\x28\xb5\x2f\xfd" + bytes([0, 0x58]) + 2 * block + (block[0] | 1).to_bytes(1, "little")
    )
    frame += block[1:]
    assert bytes(numcodecs.Zstd().decode(frame)) == bytes(12)
    check_codec("zstd", frame, 12)
    with pytest.raises((ValueError, RuntimeError)):
        check_codec("zstd", frame, 11)


def plain_zarr(path: Path, version: Any, name: str) -> Path:
    """Write a store of plain chunks; text whose values are `name` is nullable."""
    write_zarr(small_anndata(), path, version=version, plain=True)
    if name.endswith("/values"):
        make_nullable(zarr.open_group(path, use_consolidated=False), name.partition("/")[0])
    return path


def chunk_files(store: Path, name: str) -> list[Path]:
    found = [*store.glob(f"{name}/c/**/*"), *store.glob(f"{name}/[0-9]*")]
    return [file for file in found if file.is_file()]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["X/data", "X/indices", "obs/depth"])
def test_chunk_that_inflates_to_more(tmp_path: Path, version: Any, name: str) -> None:
    path = plain_zarr(tmp_path / "a.zarr", version, name)
    array = zarr.open_array(path / name, mode="r")
    kind = "zstd" if version == 3 else array.metadata.compressor.codec_id
    for file in chunk_files(path, name):
        file.write_bytes(CODECS[kind].encode(bytes(100 * 2**20)))
    if name.startswith("obs"):
        with pytest.warns(match=r"obs/depth of a\.zarr .*skipped"):
            export(path, tmp_path / "out")
    else:
        with pytest.raises(Exception, match="would have"):
            export(path, tmp_path / "out")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_file_of_a_chunk_that_is_longer_is_not_read(
    tmp_path: Path, version: Any, name: str
) -> None:
    path = plain_zarr(tmp_path / "a.zarr", version, name)
    for file in chunk_files(path, name):
        os.truncate(file, 2**40)
    if name.startswith("obs/d"):
        with pytest.warns(match=r"obs/depth of a\.zarr .*has 1,099,511,627,776.*skipped"):
            export(path, tmp_path / "out")
    else:
        with pytest.raises((RequestError, ExportError), match="has 1,099,511,627,776"):
            cellucid_dask.export(path, tmp_path / "out", **SETTINGS, cell_ids=True)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("chunk", [1, 60])
def test_shards_are_read_and_bounded(tmp_path: Path, chunk: int, *, whole: bool) -> None:
    values = np.random.default_rng(0).bytes(600)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(600,), dtype="u1", chunks=(chunk,), shards=(300,), zarr_format=3
    )
    array[:] = np.frombuffer(values, np.uint8)
    rows = slice(None) if whole else slice(7, 290)
    with bounded():
        again = zarr.open_array(tmp_path / "a.zarr", mode="r")
        assert bytes(again[rows]) == values[rows]
        for file in (tmp_path / "a.zarr/c").iterdir():
            index = file.read_bytes()[-300 // chunk * 16 - 4 :]
            claim = (0).to_bytes(8, "little") + (2**39).to_bytes(8, "little")
            body = claim + index[16:-4]
            with file.open("r+b") as opened:
                opened.truncate(2**40)
                opened.seek(0, 2)
                opened.write(body + crc32c(body).to_bytes(4, "little"))
        with pytest.raises(ValueError, match=r"a chunk of at most [\d,]+ bytes has"):
            again[rows]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["obs/_index", "obs/_index/values", "obs/cell_type/categories"])
def test_texts_that_are_not_there(tmp_path: Path, version: Any, name: str, *, packed: bool) -> None:
    path = plain_zarr(tmp_path / "a.zarr", version, name)
    data = b"\xff" * 5000
    if not packed and version == 2:
        edit_json(path / name / ".zarray", lambda array: array.update(compressor=None))
    elif not packed:
        edit_json(path / name / "zarr.json", lambda array: array["codecs"].pop())
    else:
        array = zarr.open_array(path / name, mode="r")
        kind = "zstd" if version == 3 else array.metadata.compressor.codec_id
        data = CODECS[kind].encode(data)
    for file in chunk_files(path, name):
        file.write_bytes(data)
    claims = pytest.raises(UnreadableError, match="of 5,000 bytes claims 4,294,967,295 texts")
    with claims, open_source(path) as source:
        source.cell_ids() if name.startswith("obs/_index") else source.obs("cell_type")


@pytest.mark.parametrize("name", ["obs/_index", "obs/_index/values"])
@pytest.mark.parametrize("filter_id", ["json2", "msgpack2"])
def test_filters_that_can_claim_any_length(tmp_path: Path, filter_id: str, name: str) -> None:
    path = plain_zarr(tmp_path / "a.zarr", 2, name)
    change = {"filters": [{"id": "vlen-utf8"}, {"id": filter_id}], "compressor": None}
    edit_json(path / name / ".zarray", lambda array: array.update(change))
    for file in chunk_files(path, name):
        file.write_bytes(b'[1,"<f4",[10000000000]]')
    can_claim = pytest.raises(UnreadableError, match="which can claim any length")
    with can_claim, open_source(path) as source:
        source.cell_ids()


@pytest.mark.parametrize(
    "filters", [{"compression": "gzip"}, {"compression": "gzip", "shuffle": True}]
)
@pytest.mark.parametrize("part", ["codes", "categories"])
def test_chunk_of_a_column_that_inflates_to_more(
    tmp_path: Path, part: str, filters: dict[str, Any]
) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        name = f"obs/cell_type/{part}"
        kept, values, dtype = dict(file[name].attrs), file[name][()], file[name].dtype
        del file[name]
        chunks = {"chunks": (1000,), "maxshape": (None,)}  # so large that HDF5 1 stores the length
        made = file.create_dataset(name, data=values, dtype=dtype, **chunks, **filters)
        made.attrs.update(kept)
        check_inflation(made, name)
        made.id.write_direct_chunk((0,), zlib.compress(bytes(100 * 2**20)))
        with pytest.raises(UnreadableError, match=r"a chunk of it is not one of"):
            check_inflation(made, name)
    with pytest.warns(match=r"cell_type of a\.h5ad .*skipped"):
        export(path, tmp_path / "out")


def test_large_chunks_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        noise = np.random.default_rng(0).bytes(3 * 2**18)
        data = np.frombuffer(noise, np.uint8)
        check_inflation(file.create_dataset("a", data=data, compression="gzip", chunks=True), "a")
        check_inflation(file.create_dataset("b", data=data), "b")
        check_inflation(
            file.create_dataset("c", (0,), "f4", compression="gzip", maxshape=(None,)), "c"
        )


def export(path: Path, target: Path) -> None:
    cellucid_dask.export(path, target, **SETTINGS)


@pytest.mark.parametrize("version", [2, 3])
def test_whole_stores_are_read(tmp_path: Path, version: Any) -> None:
    path = write_zarr(small_anndata(), tmp_path / "a.zarr", version=version)
    export(path, tmp_path / "out")
    assert set(check(tmp_path / "out").obs) == {"cell_type", "doublet", "sample", "score", "depth"}


@pytest.mark.parametrize("name", ["X/data", "X/indices", "X/indptr"])
def test_data_sets_that_claim_more(tmp_path: Path, name: str) -> None:
    path = write_h5ad(small_anndata(extras=False), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        kept, dtype = dict(file[name].attrs), file[name].dtype
        del file[name]
        file.create_dataset(name, (10**12,), dtype, chunks=(1000,)).attrs.update(kept)
    refused(path, tmp_path / "out", rf"{name} of a\.h5ad .*(damaged|unreadable)")


def test_column_that_claims_more_is_left_out(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        kept = dict(file["obs/score"].attrs)
        del file["obs/score"]
        file.create_dataset("obs/score", (10**12,), "f4", chunks=(1000,)).attrs.update(kept)
    with pytest.warns(match=r"obs/score of a\.h5ad is damaged: it says that it has .*skipped"):
        export(path, tmp_path / "out")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    path = write_zarr(small_anndata(), tmp_path / "a.zarr", version=2)
    touched = tmp_path / "touched"

    def change(array: Any) -> None:
        array.update(filters=[{"id": "pickle"}], compressor=None, dtype="|O", fill_value=None)

    edit_json(path / "obs/score/.zarray", change)
    for file in chunk_files(path, "obs/score"):
        file.write_bytes(f"cos\nsystem\n(S'touch {touched}'\ntR.".encode())
    with pytest.warns(match=r"obs/score of a\.zarr .*skipped"):
        export(path, tmp_path / "out")
    assert not touched.exists()


@pytest.mark.parametrize(
    ("version", "name"),
    [(2, ".zattrs"), (2, "X/data/.zattrs"), (3, "obs/zarr.json"), (3, "X/data/zarr.json")],
)
def test_metadata_that_take_much_memory(tmp_path: Path, version: Any, name: str) -> None:
    path = write_zarr(small_anndata(), tmp_path / "a.zarr", version=version)
    many: dict[str, list[Any]] = {str(number): [] for number in range(500_000)}
    edit_json(
        path / name,
        lambda found: (found if version == 2 else found["attributes"]).update(odd=many),
    )
    refused(path, tmp_path / "out", r"a\.zarr .*(is too large|cannot be read)")


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    ("name", "key"),
    [("obs", "_index"), ("var", "_index"), ("X", "encoding-type"), ("obs", "encoding-version")],
)
def test_a_long_text_in_an_attribute(tmp_path: Path, name: str, key: str, remote: bool) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file[name].attrs[key] = "x" * (17 << 20)
    source: Path | str = path
    if remote:
        source = f"memory://long-texts/{name}-{key}/a.h5ad"
        fsspec.filesystem("memory").pipe(source, path.read_bytes())
    refused(source, tmp_path / "out", rf"{name} of .*a\.h5ad .*too large")


def test_many_long_texts_in_an_attribute(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file["obs"].attrs["column-order"] = ["x" * 60_000] * 300
    refused(path, tmp_path / "out", r"obs of a\.h5ad .*too large")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_attributes_of_a_large_file(tmp_path: Path, libver: str) -> None:
    small = write_h5ad(small_anndata(), tmp_path / "small.h5ad")
    with h5py.File(small) as file, h5py.File(tmp_path / "a.h5ad", "w", libver=libver) as other:
        for name in file:
            file.copy(name, other)
        other.attrs.update(file.attrs)
        other["uns"].create_dataset("large", data=np.ones(5_000_000))
        for number in range(20):  # of the latest version they lie elsewhere
            other["obs"].attrs[f"of mine {number}"] = "x" * 1000
    assert not has_large_texts(tmp_path / "a.h5ad", "/obs")
    export(tmp_path / "a.h5ad", tmp_path / "out")
    with h5py.File(tmp_path / "a.h5ad", "a", libver=libver) as file:
        file["obs"].attrs["of mine 12"] = "x" * (17 << 20)
    assert has_large_texts(tmp_path / "a.h5ad", "/obs")


def test_a_long_text_in_an_attribute_that_nobody_needs(tmp_path: Path) -> None:
    path = write_h5ad(small_anndata(), tmp_path / "a.h5ad")
    with h5py.File(path, "a") as file:
        file.create_dataset("uns/large", data=np.ones(5_000_000))
        file["obs/score"].attrs["long"] = "x" * (17 << 20)
    with pytest.warns(match=r"obs/score of a\.h5ad .*skipped"):
        export(path, tmp_path / "out")
