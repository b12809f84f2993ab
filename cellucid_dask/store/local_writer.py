"""Changing the files of a local folder so that a run which lost it changes nothing more."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cellucid_dask.kernel.files import write_files
from cellucid_dask.store.durable import flush_file
from cellucid_dask.store.local import regular, write_local


class LocalWriter:
    """Changes files by renames alone: out of a folder of its own, and into it.

    A file appears whole or not at all. Whoever takes the files over takes the folder first
    (`take_over`), in one step. From then on no rename succeeds, also of a process that was paused
    in the middle of a write and goes on now.

    Parameters
    ----------
    root
        What the names of files are relative to.
    own
        The folder, below it; ``None`` if nobody else changes them: the root itself.
    """

    def __init__(self, root: str, own: str | None) -> None:
        self._root, self._is_shared = root, own is not None
        self._own = f"{root}/{own}" if own else root
        token = uuid.uuid4().hex
        self._unfinished = (f"{self._own}/.{token}-{n}.part" for n in itertools.count())

    def write_all(self, files: Mapping[str, bytes | memoryview]) -> None:
        """Write files one after the other.

        Raises
        ------
        FileNotFoundError
            The folder has been taken.
        """
        names, contents = list(files), list(files.values())
        while names:
            paths = [f"{self._root}/{name}" for name in names]
            n_done = write_files([self._temporary() for _ in names], paths, contents)
            if n_done < len(names):
                self.write(names[n_done], contents[n_done])  # says why, or makes its folder
            names, contents = names[n_done + 1 :], contents[n_done + 1 :]

    def write(self, name: str, data: bytes | memoryview, *, flush: bool = False) -> None:
        """Write a file; with `flush` its content is on the disk before its name is.

        Raises
        ------
        FileNotFoundError
            The folder has been taken.
        """
        temporary = self._temporary()
        write_local(temporary, data)
        if flush:
            flush_file(temporary)
        self._rename(temporary, name)

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """Open a file to write it piece by piece; it appears when the block ends well.

        Raises
        ------
        FileNotFoundError
            The folder has been taken.
        """
        temporary = self._temporary()
        with open(temporary, "wb", opener=regular) as out:
            yield out
        self._rename(temporary, name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, as far as they exist.

        Raises
        ------
        FileNotFoundError
            The folder has been taken.
        """
        for name in names:
            path = f"{self._root}/{name}"
            with suppress(FileNotFoundError):
                if self._is_shared:
                    removed = self._temporary()
                    os.replace(path, removed)  # noqa: PTH105
                    path = removed
                os.unlink(path)  # noqa: PTH108
        if self._is_shared:
            os.stat(self._own)  # noqa: PTH116

    def _temporary(self) -> str:
        if not self._is_shared:
            Path(self._own).mkdir(parents=True, exist_ok=True)
        return next(self._unfinished)

    def _rename(self, temporary: str, name: str) -> None:
        path = f"{self._root}/{name}"
        try:
            os.replace(temporary, path)  # noqa: PTH105
        except FileNotFoundError:
            os.stat(temporary)  # noqa: PTH116  else it was taken
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)  # noqa: PTH105


def take_over(folder: Path, own: str, prefix: str) -> None:
    """Take what others were writing: nothing of it gets its name any more.

    Parameters
    ----------
    folder
        Where the folders of all writers lie.
    own, prefix
        Name of the taker's, and how all their names begin.
    """
    for other in folder.glob(f"{prefix}*"):
        if other.name != own:
            with suppress(FileNotFoundError):  # another taker has it
                other.replace(folder / own / other.name)
    for other in folder.glob(f"{own}/{prefix}*"):
        shutil.rmtree(other, ignore_errors=True)  # somebody may be writing there yet
