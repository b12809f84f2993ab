"""An object as a file that is read here and there, of which some blocks are kept."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

from cellucid_dask.store.client import Client
from cellucid_dask.store.transfer import call


class BlockReader(io.RawIOBase):
    """A file of which whole blocks are read, and the last ones kept.

    Parameters
    ----------
    client, path
        Of the object.
    block_bytes, n_blocks
        Size of a block, and how many are kept.
    """

    def __init__(
        self, client: Client, path: str, block_bytes: int = 2**20, n_blocks: int = 32
    ) -> None:
        super().__init__()
        self.client, self.path = client, path
        self._block_bytes, self._n_blocks = block_bytes, n_blocks
        self._blocks: OrderedDict[int, Any] = OrderedDict()
        self._size = call(client, lambda: client.info(path)).size
        self._at = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose where the next byte is read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer: less than that is the end of the file."""
        stop = min(self._at + len(buffer), self._size)
        n_read = 0
        while self._at < stop:
            number, first = divmod(self._at, self._block_bytes)
            part = self._block(number)[first : first + stop - self._at]
            buffer[n_read : n_read + len(part)] = part
            n_read, self._at = n_read + len(part), self._at + len(part)
        return n_read

    def _block(self, number: int) -> Any:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start = number * self._block_bytes
        stop = min(start + self._block_bytes, self._size)
        block = call(self.client, lambda: self.client.get(self.path, start, stop))
        if len(block) != stop - start:
            raise OSError(f"{stop - start - len(block)} bytes are missing")
        self._blocks[number] = block
        if len(self._blocks) > self._n_blocks:
            self._blocks.popitem(last=False)
        return block
