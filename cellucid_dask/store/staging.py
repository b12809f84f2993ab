"""A buffer for encoded metadata: nothing reaches the target until every column is validated."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Self

from cellucid_dask.errors import ExportError
from cellucid_dask.store.location import Location


class Staging:
    """Files by name: few in memory, many in one temporary file that has no name.

    Parameters
    ----------
    folder
        Where the temporary file lies; ``None`` for the system's folder.
    max_memory
        Bytes above which they go to the temporary file.
    """

    def __init__(self, folder: str | None, max_memory: int = 2**22) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_memory, dir=folder)  # noqa: SIM115
        self._folder = folder or tempfile.gettempdir()
        self._sizes: dict[str, int] = {}

    def add(self, name: str, data: bytes) -> None:
        """Append a file.

        Raises
        ------
        ExportError
            The disk is full or cannot be written to.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise ExportError(
                f"{self._folder} cannot hold the encoded cell metadata ({error.strerror}): "
                "choose another folder with --scratch."
            ) from error
        self._sizes[name] = len(data)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over names and contents, in the order they were added."""
        self._file.seek(0)
        for name, size in self._sizes.items():
            yield name, self._file.read(size)

    def close(self) -> None:
        """Free the memory or the temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def staging_folder(*preferred: str | None) -> str | None:
    """Choose the first local folder that can be written to; the system's may be memory."""
    folders = [Location.of(path) for path in preferred if path is not None]
    return next(
        (each.url for each in folders if each.is_local and os.access(each.url, os.W_OK)), None
    )
