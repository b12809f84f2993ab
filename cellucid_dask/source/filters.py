"""HDF5 filters that h5py does not bring: most come with the package hdf5plugin."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

import h5py

from cellucid_dask.source.reading import UnreadableError

_PLUGIN = "hdf5plugin"
_NAMES = {
    4: "szip", 307: "bzip2", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp",
    32015: "zstd", 32017: "sz", 32024: "sz3", 32026: "blosc2", 32028: "sperr",
}  # fmt: skip


def load_filters() -> None:
    """Let HDF5 know the filters of hdf5plugin, if that is installed."""
    with suppress(ImportError):
        import_module(_PLUGIN)


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
    plist = dataset.id.get_create_plist()
    for number in (plist.get_filter(i)[0] for i in range(plist.get_nfilters())):
        if not h5py.h5z.filter_avail(number):
            remedy = "" if find_spec(_PLUGIN) else f"pip install {_PLUGIN}, or "
            raise UnreadableError(
                f"{what} is compressed with {_NAMES.get(number, 'an unknown filter')} (HDF5 filter "
                f"{number}), which is not installed: {remedy}write the file again with gzip."
            )
