"""What is asked of a store, by obstore (`obstore_client`) or by fsspec (`fsspec_client`).

Each method is one try. It raises errors that `failures` tells apart; `transfer` bounds its time
and tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store says of an object, or of a folder.

    Attributes
    ----------
    path
        Its path in the store.
    size
        In bytes.
    is_folder
        Whether it is a folder.
    md5
        Its MD5, or whatever else S3 calls an ETag; ``None`` where the store tells neither.
    state
        What changes when it is written again.
    """

    path: str
    size: int = 0
    is_folder: bool = False
    md5: str | None = None
    state: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What knows whether objects may be written yet, see `Target.fence`.

    Attributes
    ----------
    is_due
        Whether its last answer is too old.
    ask
        Raises if nothing may be written any more.
    """

    is_due: Callable[[], bool]
    ask: Callable[[], None]


class Client(Protocol):
    """Asks one store. Paths begin with the bucket or container, where there are such.

    Attributes
    ----------
    protocols
        Names of its kind of store.
    loop
        Where its calls are awaited; ``None`` if they block, and are made one at a time.
    gave_up
        Whether the last call ended without a good answer, after all its tries.
    """

    protocols: set[str]
    gave_up: bool
    loop: asyncio.AbstractEventLoop | None

    async def get(self, path: str, start: int = 0, stop: int | None = None) -> Any:
        """Read an object, or the bytes ``start ... stop - 1`` of it; its last ones if negative."""

    async def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object whole. It gets no content encoding."""

    async def create(self, path: str, data: bytes, content_type: str) -> None:
        """Write an object as `put` does, or raise `FileExistsError` where there is one."""

    async def version(self, path: str) -> Mapping[str, str]:
        """Return what `replace` knows an object by; nothing where it knows no conditions."""

    async def replace(
        self, path: str, data: bytes, content_type: str, version: Mapping[str, str]
    ) -> None:
        """Write an object as `put` does, if it is of a version.

        Raises
        ------
        FileExistsError, FileNotFoundError
            It is not.
        """

    async def info(self, path: str) -> Entry:
        """Ask for one object."""

    async def entries(self, path: str, *, below: bool = False) -> list[Entry]:
        """List a folder; with `below` all objects in it and in its folders. Never a cached list."""

    async def delete(self, paths: Sequence[str]) -> None:
        """Remove objects, as far as they exist."""

    async def delete_folder(self, path: str) -> None:
        """Remove a folder that has no more objects, where there are folders."""

    async def make_folder(self, path: str) -> None:
        """Make a folder, where files need one."""

    def open_reader(self, path: str, block_bytes: int = 2**20) -> Any:
        """Open an object for reads of any order, close together: blocks are read, and some kept."""

    def open_writer(self, path: str, content_type: str) -> AbstractContextManager[Any]:
        """Open an object to be written piece by piece."""
