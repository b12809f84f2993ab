"""HDF5 filters that h5py does not bring: most come with the package hdf5plugin."""

from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

import deflate
import h5py

from cellucid_dask.source.claims import DEFLATE_RATIO
from cellucid_dask.source.reading import UnreadableError

_PLUGIN = "hdf5plugin"
_NAMES = {
    4: "szip", 307: "bzip2", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp",
    32015: "zstd", 32017: "sz", 32024: "sz3", 32026: "blosc2", 32028: "sperr",
}  # fmt: skip


_SMALL = 2**26  # bytes that a chunk may become without being looked at


def load_filters() -> None:
    """Let HDF5 know the filters of hdf5plugin, if that is installed."""
    with suppress(ImportError):
        import_module(_PLUGIN)


def filters_of(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Return the numbers of a data set's filters, in the order of writing."""
    plist = dataset.id.get_create_plist()
    return tuple(plist.get_filter(i)[0] for i in range(plist.get_nfilters()))


def check_filters(dataset: h5py.Dataset, what: str) -> None:
    """Check that a data set can be decompressed.

    Parameters
    ----------
    dataset
        The data set.
    what
        What to call it in errors.

    Raises
    ------
    UnreadableError
        A filter is missing, and what brings it.
    """
    for number in filters_of(dataset):
        if not h5py.h5z.filter_avail(number):
            remedy = "" if find_spec(_PLUGIN) else f"pip install {_PLUGIN}, or "
            raise UnreadableError(
                f"{what} is compressed with {_NAMES.get(number, 'an unknown filter')} (HDF5 filter "
                f"{number}), which is not installed: {remedy}write the file again with gzip."
            )


def check_inflation(dataset: h5py.Dataset, what: str) -> None:
    """Check that no chunk inflates to more than its shape: HDF5 would take the memory for it.

    Only chunks that could become large are inflated here.

    Parameters
    ----------
    dataset
        The data set.
    what
        What to call it in errors.

    Raises
    ------
    UnreadableError
        A chunk does.
    """
    filters = filters_of(dataset)
    if not filters or filters[-1] != h5py.h5z.FILTER_DEFLATE:
        return
    nbytes = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
    large: list[tuple[int, ...]] = []

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        skipped = chunk.filter_mask >> len(filters) - 1 & 1
        if chunk.size * DEFLATE_RATIO > max(_SMALL, nbytes) and not skipped:
            large.append(chunk.chunk_offset)

    if dataset.id.get_num_chunks():
        dataset.id.chunk_iter(note)
    for offset in large:
        _, stored = dataset.id.read_direct_chunk(offset)
        try:
            deflate.zlib_decompress(stored, nbytes)
        except deflate.DeflateError as error:
            raise UnreadableError(
                f"{what} is damaged: a chunk of it is not one of {nbytes:,} bytes. "
                "Copy or write it again from its origin."
            ) from error
