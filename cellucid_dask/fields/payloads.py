"""Encoded files that wait on disk until the whole request has been checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping


class Payloads(Mapping[str, bytes]):
    """Files by name, each read back when it is asked for; gone when nobody holds them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed when nobody holds it
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, name: str, data: bytes) -> None:
        """Keep a file."""
        self._places[name] = self._file.seek(0, 2), len(data)
        self._file.write(data)

    def sizes(self) -> dict[str, int]:
        """Return the size of each."""
        return {name: nbytes for name, (_, nbytes) in self._places.items()}

    def close(self) -> None:
        """Let go of them."""
        self._places.clear()
        self._file.close()

    def __getitem__(self, name: str) -> bytes:
        start, nbytes = self._places[name]
        self._file.seek(start)
        return self._file.read(nbytes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
