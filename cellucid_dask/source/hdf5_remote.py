"""A remote HDF5 file: the index of a data set's chunks is read level by level, not node by node.

HDF5 keeps where chunks are in a tree whose nodes lie among the chunks, and follows it one node
after the other: of a large file thousands of requests, each waited for. Whenever it reads a node,
all that the node points to are asked for at once.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from cellucid_dask.source.hdf5_heaps import is_large_heap
from cellucid_dask.store.blocks import BlockReader
from cellucid_dask.store.client import Client
from cellucid_dask.store.transfer import fetch_ranges

# "TREE", 1 for chunks; then level, entries, left and right neighbor; a key before each child has
# size and filters of a chunk, and an offset for each dimension and for the bytes of an element
_HEAD = struct.Struct("<4sBBHQQ")
_MAX_RANK = 32


class RemoteHdf5(BlockReader):
    """A remote HDF5 file that reads ahead in the trees of chunks (version 1).

    Parameters
    ----------
    client, path, block_bytes
        As for `BlockReader`.
    """

    def __init__(self, client: Client, path: str, block_bytes: int = 2**20) -> None:
        super().__init__(client, path, block_bytes)
        self._nodes: dict[int, Any] = {}  # by address; each is read once

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer: less than that is the end of the file."""
        node = self._nodes.pop(self.tell(), b"")
        if len(node) == len(buffer):
            buffer[:] = node
            self.seek(len(node), io.SEEK_CUR)
        else:
            n_read = super().readinto(buffer)
            if n_read < len(buffer):
                return n_read
        if is_large_heap(bytes(buffer[:16])):
            raise OSError("a text of it is too large")
        self._read_ahead(children(bytes(buffer)), len(buffer))
        return len(buffer)

    def _read_ahead(self, addresses: list[int], size: int) -> None:
        ranges = [(self.path, address, address + size) for address in addresses]
        for address, data in zip(addresses, fetch_ranges(self.client, ranges), strict=True):
            if not isinstance(data, Exception):  # it is explained when it is read alone
                self._nodes[address] = data


def children(node: bytes) -> list[int]:
    """Return the addresses that an inner node of a tree of chunks has; none of anything else."""
    if len(node) < _HEAD.size or not node.startswith(b"TREE\x01"):
        return []
    _, _, level, n_used, _, _ = _HEAD.unpack_from(node)
    for rank in range(1, _MAX_RANK + 1):
        key = 8 + 8 * (rank + 1)
        n_children, rest = divmod(len(node) - _HEAD.size - key, key + 8)
        if rest == 0 and n_children % 2 == 0 and level and n_used <= n_children:
            first = _HEAD.size + key
            return [
                int.from_bytes(node[at : at + 8], "little")
                for at in range(first, first + n_used * (key + 8), key + 8)
            ]
    return []
