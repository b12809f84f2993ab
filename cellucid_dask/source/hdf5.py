"""Reading HDF5 datasets chunk by chunk, without HDF5.

HDF5 decompresses under one global lock, so threads wait for each other. The file is
opened once to learn the offset of each chunk; after that a chunk is a byte range of the
file (or of an object in a store), inflated by libdeflate outside any lock.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import deflate
import h5py
import numpy as np

from cellucid_dask.errors import ExportError
from cellucid_dask.source.filters import filters_of, load_filters
from cellucid_dask.source.hdf5_links import file_of, raw_file
from cellucid_dask.source.hdf5_remote import RemoteHdf5
from cellucid_dask.store.location import Location
from cellucid_dask.types import Array

_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_ABSENT = np.iinfo(np.uint64).max


@contextmanager
def open_file(file: Location) -> Iterator[h5py.File]:
    """Open a file for the HDF5 library; of a remote one a few small blocks are cached.

    It must be closed: HDF5 calls back into a remote file that is open when the interpreter ends,
    and the process dies.
    """
    load_filters()
    with ExitStack() as opened:
        stored: Any = file.url
        if not file.is_local:
            stored = opened.enter_context(RemoteHdf5(file.client, file.path()))
        yield opened.enter_context(_open(stored))


def _open(stored: Any) -> h5py.File:
    try:
        return h5py.File(stored, "r")
    except Exception as error:  # noqa: BLE001  some are of the store
        # frames of h5py in the traceback would keep the remote file open until HDF5 ends
        raise error.with_traceback(None) from None


@dataclass(frozen=True)
class ChunkedDataset:
    """An HDF5 dataset read from the bytes of its chunks.

    Attributes
    ----------
    offsets, sizes
        uint64, one a chunk in C order of the chunk grid: its byte range in the file.
    skipped
        uint32: which filters each chunk was written without.
    filters
        HDF5 filter numbers in the order of writing, deflate and shuffle only.
    """

    file: Location
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    offsets: Array = field(repr=False)
    sizes: Array = field(repr=False)
    skipped: Array = field(repr=False)
    filters: tuple[int, ...]
    fill: Any = 0

    def __getitem__(self, selection: slice | tuple[slice, ...]) -> Array:
        """Read a region given by slices of step 1."""
        wanted = _bounds(selection, self.shape)
        out = np.empty([stop - start for start, stop in wanted], self.dtype.newbyteorder("="))
        if 0 in out.shape:
            return out
        grid = [-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True)]
        touched = [
            range(start // chunk, -(-stop // chunk))
            for (start, stop), chunk in zip(wanted, self.chunks, strict=True)
        ]
        positions = list(itertools.product(*touched))
        numbers = np.ravel_multi_index(np.array(positions).T, grid)
        offsets, sizes, skipped = (
            each[numbers].tolist() for each in (self.offsets, self.sizes, self.skipped)
        )
        ranges = [
            ("", offset, offset + size)
            for offset, size in zip(offsets, sizes, strict=True)
            if offset != _ABSENT
        ]
        stored = iter(self.file.read_ranges(ranges))
        for position, offset, without in zip(positions, offsets, skipped, strict=True):
            source, target = _overlap(position, self.chunks, wanted)
            if offset == _ABSENT:
                out[target] = self.fill
            else:
                try:
                    values = self._decode(next(stored), without)
                except (ValueError, deflate.DeflateError) as error:
                    first = ", ".join(
                        str(at * size) for at, size in zip(position, self.chunks, strict=True)
                    )
                    raise ExportError(
                        f"{self.file} is damaged: the chunk of {self.name} from ({first}) on "
                        f"cannot be decompressed ({error}). Copy or create the file "
                        "again."
                    ) from error
                out[target] = values[source]
        return out

    def _decode(self, data: bytes, skipped: int) -> Array:
        length = math.prod(self.chunks) * self.dtype.itemsize
        values = np.frombuffer(data, np.uint8)
        for position in reversed(range(len(self.filters))):
            if skipped >> position & 1:
                continue
            if self.filters[position] == _DEFLATE:
                values = np.frombuffer(deflate.zlib_decompress(values, length), np.uint8)
            else:
                values = values.reshape(self.dtype.itemsize, -1).T.reshape(-1)
        return values.view(self.dtype).reshape(self.chunks)


def _overlap(
    position: tuple[int, ...], chunks: tuple[int, ...], wanted: list[tuple[int, int]]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the overlap of a chunk and a region: its slices in the chunk, and in the region."""
    source, target = [], []
    for at, size, (start, stop) in zip(position, chunks, wanted, strict=True):
        first, last = max(at * size, start), min((at + 1) * size, stop)
        source.append(slice(first - at * size, last - at * size))
        target.append(slice(first - start, last - start))
    return tuple(source), tuple(target)


@dataclass(frozen=True)
class ContiguousDataset:
    """An HDF5 dataset that is one run of bytes in the file."""

    file: Location
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    def __getitem__(self, selection: slice | tuple[slice, ...]) -> Array:
        """Read a region given by slices of step 1: whole rows, then their columns."""
        (start, stop), *rest = _bounds(selection, self.shape)
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if stop == start:
            return np.empty([0, *(b - a for a, b in rest)], self.dtype.newbyteorder("="))
        first = self.offset + start * row
        (data,) = self.file.read_ranges([("", first, first + (stop - start) * row)])
        values = np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])
        region = values[(slice(None), *(slice(a, b) for a, b in rest))]
        return region.astype(self.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class LibraryDataset:
    """An HDF5 dataset that only the library can read (other filters, virtual, external)."""

    file: Location
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None

    def __getitem__(self, selection: Any) -> Array:
        """Read a region."""
        with _H5PY, open_file(self.file) as file:
            try:
                values = np.asarray(file[self.name][selection])
            except OSError as error:
                rows = selection[0] if isinstance(selection, tuple) else selection
                raise ExportError(
                    f"{self.file} is damaged, or cannot be read: {self.name} from row "
                    f"{rows.start or 0:,} on ({error}). Copy or create the file again."
                ) from error
        return values.astype(self.dtype.newbyteorder("="), copy=False)


_H5PY = threading.Lock()


def reader(dataset: h5py.Dataset, file: Location) -> Any:
    """Return the fastest reader that can read the dataset.

    Parameters
    ----------
    dataset
        The dataset; behind a link, it lies in another file.
    file
        The file that was opened.
    """
    if file.is_local:
        file = Location(str(file_of(dataset)))
    filters = filters_of(dataset)
    layout = dataset.id.get_create_plist().get_layout()
    plain = dataset.dtype.kind in "biuf" and dataset.file.userblock_size == 0
    if plain and layout == h5py.h5d.CHUNKED and set(filters) <= {_DEFLATE, _SHUFFLE}:
        return _chunked(dataset, file, filters)
    if plain and layout == h5py.h5d.CONTIGUOUS and not filters:
        return _contiguous(dataset, file)
    return _by_library(dataset, file)


def _by_library(dataset: h5py.Dataset, file: Location) -> LibraryDataset:
    return LibraryDataset(file, dataset.name, dataset.shape, dataset.dtype, dataset.chunks)


def _contiguous(dataset: h5py.Dataset, file: Location) -> ContiguousDataset | LibraryDataset:
    offset, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    if dataset.external and len(dataset.external) == 1:
        ((name, offset, _),) = dataset.external
        file, size = Location(str(raw_file(name))), dataset.nbytes
    if offset is None or size != dataset.nbytes:
        return _by_library(dataset, file)
    return ContiguousDataset(file, dataset.shape, dataset.dtype, offset)


def _chunked(dataset: h5py.Dataset, file: Location, filters: tuple[int, ...]) -> ChunkedDataset:
    chunks = dataset.chunks  # asked for once: the library asks the file each time
    grid = [-(-size // chunk) for size, chunk in zip(dataset.shape, chunks, strict=True)]
    count = math.prod(grid)
    offsets = np.full(count, _ABSENT, np.uint64)
    sizes, skipped = np.zeros(count, np.uint64), np.zeros(count, np.uint32)
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]

    def note(chunk: Any) -> None:
        number = sum(
            at // size * stride
            for at, size, stride in zip(chunk.chunk_offset, chunks, strides, strict=True)
        )
        offsets[number], sizes[number] = chunk.byte_offset, chunk.size
        skipped[number] = chunk.filter_mask

    if dataset.id.get_num_chunks():
        dataset.id.chunk_iter(note)
        if _is_open_once(dataset):
            dataset.id.refresh()  # or HDF5 would keep the whole index in memory
    return ChunkedDataset(
        file, dataset.name, dataset.shape, dataset.dtype, chunks, offsets, sizes, skipped,
        filters, dataset.fillvalue,
    )  # fmt: skip


def _is_open_once(dataset: h5py.Dataset) -> bool:
    """Whether no one else has the dataset open: refreshing would break it under their hands."""
    number = h5py.h5o.get_info(dataset.id).addr
    opened = h5py.h5f.get_obj_ids(dataset.file.id, h5py.h5f.OBJ_DATASET)
    return [h5py.h5o.get_info(each).addr for each in opened].count(number) == 1


def _bounds(selection: Any, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    given = selection if isinstance(selection, tuple) else (selection,)
    slices = [*given, *(slice(None) for _ in shape[len(given) :])]
    return [each.indices(size)[:2] for each, size in zip(slices, shape, strict=True)]
