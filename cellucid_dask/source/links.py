"""Other files that a source may be read from, by links of whatever kind.

What lies in the source's own folder is part of it. A link out of that folder is followed only if
the user allows it: a file from a stranger could name any file of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cellucid_dask.errors import RequestError


@dataclass(frozen=True)
class Reach:
    """Which files may be read.

    Attributes
    ----------
    name
        Of the source, for errors.
    folder
        Its own folder, with symbolic links resolved; ``None`` in a store, where HDF5 can follow
        no link.
    anywhere
        Whether links may lead out of it.
    """

    name: str
    folder: Path | None
    anywhere: bool = False

    def check(self, what: str, file: Path) -> Path:
        """Return the real path of a file that `what` links to.

        Raises
        ------
        RequestError
            It is not there, or may not be read.
        """
        if self.folder is None:
            raise RequestError(
                f"{what} of {self.name} lies in another file, {file}, which cannot be followed "
                "in a store: write both into one file, or export from a local disk."
            )
        real = Path(os.path.realpath(file))
        if not (self.anywhere or real.is_relative_to(self.folder)):
            raise RequestError(
                f"{what} of {self.name} is a link to {real}, which lies outside of {self.folder}: "
                "pass --allow-links if you trust its author."
            )
        if not real.exists():
            raise RequestError(
                f"{what} of {self.name} is a link to {real}, which does not exist: put it there, "
                "or write the data into one file."
            )
        if not (real.is_file() or real.is_dir()):
            raise RequestError(f"{what} of {self.name} is a link to {real}, which is not a file.")
        return real


@dataclass(frozen=True)
class SymbolicLinks:
    """The symbolic links in a folder that is a Zarr store.

    Attributes
    ----------
    reach
        Which files may be read; without a folder there are no links.
    prefix
        Path of the group in the store whose elements are asked for.
    """

    reach: Reach
    prefix: str = ""

    def below(self, path: str) -> SymbolicLinks:
        """Return the same for the group at a path."""
        return replace(self, prefix=f"{self.prefix}{path}/")

    def find(self, _: Any, path: str) -> bool:
        """Check the links on the way to an element."""
        if self.reach.folder is not None:
            here = self.reach.folder
            for part in f"{self.prefix}{path}".split("/"):
                here /= part
                if here.is_symlink():
                    self.reach.check(path, here)
        return True

    def check(self, _: Any, path: str) -> None:
        """Check the links below an element: Zarr makes zeros of a chunk that is not there."""
        if self.reach.folder is not None:
            for link in _symbolic_links(self.reach.folder / self.prefix / path):
                self.reach.check(str(link.relative_to(self.reach.folder)), link)

    def others(self, _: Any) -> set[str]:
        """Return the files that the store is linked to."""
        folder = self.reach.folder
        return set() if folder is None else {os.path.realpath(x) for x in _symbolic_links(folder)}


def _symbolic_links(folder: Path) -> Iterator[Path]:
    """Find the links below a folder, and below the folders that they lead to."""
    left, seen = [str(folder)], {os.path.realpath(folder)}
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                    real = os.path.realpath(entry.path)
                    if real in seen or not entry.is_dir():
                        continue
                    seen.add(real)
                if entry.is_dir():
                    left.append(entry.path)
