"""The compiled kernel: its functions and structures as `csrc/kernel.c` defines them.

ctypes lets go of Python's lock during each call, so that threads run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL, POINTER, Structure, c_char_p, c_int32, c_int64, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.types import Array

PATH = Path(__file__).with_name("_kernel.so")  # on every system: nothing but this module loads it
_VERSION = 5

_OUT_OF_MEMORY, _DAMAGED, UNSORTED, _INCONSISTENT = -1, -2, -3, -4

# Of the dtypes of tiles, and of others, which become one of those when rows are transposed.
_TILE_TYPES = {"b1": 0, "u1": 0, "i1": 1, "u2": 2, "i2": 3, "f2": 4, "f4": 5, "f8": 10}
_WIDE_TYPES = {"i4": 6, "u4": 7, "i8": 8, "u8": 9}


class TileStruct(Structure):
    """`Tile` of `csrc/genes.h`."""

    _fields_ = (
        ("first_cell", c_int64), ("n_cells", c_int64), ("n_values", c_int64),
        ("indptr", c_void_p), ("cells", c_void_p), ("values", c_void_p),
        ("cell_bytes", c_int32), ("value_type", c_int32),
    )  # fmt: skip


class GenesStruct(Structure):
    """`Genes` of `csrc/genes.h`."""

    _fields_ = (
        ("tiles", POINTER(TileStruct)),
        ("n_tiles", c_int64), ("n_genes", c_int64), ("n_cells", c_int64),
    )  # fmt: skip


class RowsStruct(Structure):
    """`Rows` of `csrc/transpose.h`."""

    _fields_ = (
        ("indptr", c_void_p), ("indices", c_void_p), ("values", c_void_p), ("lookup", c_void_p),
        ("n_rows", c_int64), ("n_columns", c_int64), ("n_values", c_int64), ("n_genes", c_int64),
        ("index_bytes", c_int32), ("value_type", c_int32),
    )  # fmt: skip


_GENES, _ROWS, _TEXTS = POINTER(GenesStruct), POINTER(RowsStruct), POINTER(c_char_p)
_SIGNATURES: dict[str, tuple[Any, Sequence[Any]]] = {
    "cellucid_version": (c_int32, ()),
    "cellucid_member_bound": (c_int64, (c_int64,)),
    "cellucid_ranges": (c_int32, (_GENES, c_void_p, c_void_p, c_void_p)),
    "cellucid_vectors": (
        c_int32,
        (_GENES, c_int64, c_int64, c_int32, c_void_p, c_void_p, c_void_p),
    ),
    "cellucid_columns": (
        c_int32,
        (_GENES, c_int64, c_int64, c_void_p, c_int32, c_void_p, c_void_p),
    ),
    "cellucid_members": (
        c_int64,
        (_GENES, c_int64, c_int64, c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_void_p),
    ),
    "cellucid_member": (c_int64, (c_void_p, c_int64, c_void_p, c_int64, c_void_p)),
    "cellucid_stream_bound": (c_int64, (c_int64,)),
    "cellucid_stream": (c_int64, (c_void_p, c_int64, c_int32, c_int32, c_void_p, c_int64)),
    "cellucid_count": (c_int32, (_ROWS, c_void_p)),
    "cellucid_transpose": (c_int32, (_ROWS, c_void_p, c_void_p, c_void_p)),
    "cellucid_sums": (c_int32, (_GENES, c_void_p)),
    "cellucid_add": (c_uint64, (c_uint64, c_void_p, c_int64)),
    "cellucid_read": (c_int64, (_TEXTS, c_void_p, c_void_p, c_int64, c_void_p)),
    "cellucid_write": (c_int64, (_TEXTS, _TEXTS, POINTER(c_void_p), c_void_p, c_int64)),
    "cellucid_sum_files": (c_int64, (_TEXTS, c_void_p, c_int64, c_void_p)),
}


@cache
def library(path: Path = PATH) -> CDLL:
    """Load the kernel.

    Raises
    ------
    RequestError
        It is missing, built for another machine, or of another version of this package.
    """
    try:
        loaded = CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
        fits = loaded.cellucid_version() == _VERSION
    except (OSError, AttributeError):
        fits = False
    if not fits:
        found = "does not fit this machine or this version" if path.exists() else "is missing"
        raise RequestError(
            f"The compiled part of cellucid-dask {found}: install it again with "
            "`pip install --force-reinstall --no-deps cellucid-dask`, or in a clone with "
            "`pip install --editable .`."
        )
    return loaded


def address(array: Array | None) -> int | None:
    """Return where the values of a contiguous array begin.

    Raises
    ------
    ValueError
        The array is not contiguous.
    """
    if array is None:
        return None
    if not array.flags.c_contiguous:
        raise ValueError("the kernel needs contiguous arrays")
    return array.ctypes.data


def value_type(dtype: np.dtype[Any], *, wide: bool = False) -> int | None:
    """Return the kernel's number of a dtype, or ``None`` if it does not know it.

    Parameters
    ----------
    dtype
        Of values.
    wide
        Whether types are allowed that no tile has.
    """
    name = f"{dtype.kind}{dtype.itemsize}" if dtype.isnative else ""
    return _TILE_TYPES.get(name, _WIDE_TYPES.get(name) if wide else None)


def checked(result: int, damaged: str) -> int:
    """Return the result of a function of the kernel, unless it is an error.

    Parameters
    ----------
    result
        What the function returned.
    damaged
        Message for input that does not hold together.

    Raises
    ------
    ExportError
        The input is damaged.
    MemoryError
        Memory ran out.
    """
    if result >= 0:
        return result
    if result == _OUT_OF_MEMORY:
        raise MemoryError
    if result == _INCONSISTENT:
        raise RuntimeError("the kernel did not write what it had planned")
    raise ExportError(damaged)
