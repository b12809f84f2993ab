"""Texts of HDF5 attributes lie in heaps, whose sizes HDF5 does not say before it reads them."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cellucid_dask.source.claims import MAX_ATTRIBUTES
from cellucid_dask.types import Array

_HEAP = b"GCOL"
# Of a message that is an attribute: version, flags, sizes of its name, type and space.
_HEAD = struct.Struct("<BBHHH")
_PADDED, _WITH_CHARSET = 1, 3  # versions
# Of a text in an attribute: its length, and the address of the heap that it lies in.
_TEXT = np.dtype([("length", "<u4"), ("heap", "<u8"), ("number", "<u4")])


def is_large_heap(block: bytes) -> bool:
    """Whether a block of a file is the head of a heap larger than attributes may be."""
    return block.startswith(_HEAP) and int.from_bytes(block[8:16], "little") > MAX_ATTRIBUTES


def has_large_texts(path: Path, name: str) -> bool:
    """Whether an attribute of an object in a local file has texts larger than they may be."""
    size = path.stat().st_size if path.is_file() else 0
    if size <= MAX_ATTRIBUTES:
        return False
    # somebody else may have opened it for writing
    with _Noted(path) as noted, suppress(Exception), h5py.File(noted, "r") as file:
        attributes = file[name].attrs
        for key in attributes:
            for texts in _texts(noted.blocks, attributes.get_id(key)):
                n_bytes = 0
                for address in np.unique(texts["heap"][texts["heap"] < size]).tolist():
                    noted.seek(file.userblock_size + address)
                    head = noted.read(16)
                    if head.startswith(_HEAP):
                        n_bytes += int(texts["length"][texts["heap"] == address].sum())
                    if is_large_heap(head) or n_bytes > MAX_ATTRIBUTES:
                        return True
    return False


class _Noted(io.FileIO):
    """A file that notes which blocks HDF5 reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.blocks: list[bytes] = []

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer."""
        n_read = super().readinto(buffer) or 0
        self.blocks.append(bytes(buffer))
        return n_read


def _texts(blocks: list[bytes], attribute: Any) -> Iterator[Array]:
    """Find where the texts of an attribute lie, or those of one that was there before."""
    kind = attribute.get_type()
    is_text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    if not (is_text or isinstance(kind, h5py.h5t.TypeVlenID)):
        return
    name, n_texts = attribute.name + b"\0", math.prod(attribute.shape)
    for block in blocks:
        at = block.find(name)
        while at >= 0:
            start = _values(block, at, len(name))
            if start is not None and start + n_texts * _TEXT.itemsize <= len(block):
                yield np.frombuffer(block, _TEXT, n_texts, start)
            at = block.find(name, at + 1)


def _values(block: bytes, at: int, name_size: int) -> int | None:
    """Return where the values of an attribute begin whose name is there; None if it is none."""
    for version, more in ((1, 0), (2, 0), (_WITH_CHARSET, 1)):
        start = at - _HEAD.size - more
        if start >= 0 and block[start] == version:
            _, _, *sizes = _HEAD.unpack_from(block, start)
            if sizes[0] == name_size:
                step = 8 if version == _PADDED else 1
                return at + sum(-(-int(size) // step) * step for size in sizes)
    return None
