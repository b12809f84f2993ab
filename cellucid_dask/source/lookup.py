"""Elements found by name one at a time, for stores that do not list what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Lookup(Mapping[str, T], Generic[T]):
    """A mapping that looks for a name when it is asked for it, and lists all only when it must.

    Parameters
    ----------
    find
        Returns what a name stands for, ``None`` if there is nothing of that name.
    names
        Lists the names that there may be, or raises an error that says why it cannot.
    """

    def __init__(self, find: Callable[[str], T | None], names: Callable[[], Iterable[str]]) -> None:
        self._find, self._names = find, names
        self._found: dict[str, T | None] = {}

    def __getitem__(self, name: str) -> T:
        """Return what a name stands for."""
        if name not in self._found:
            # a path is not a name
            self._found[name] = None if name in ("", ".", "..") or "/" in name else self._find(name)
        found = self._found[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of their list."""
        return (name for name in dict.fromkeys(self._names()) if name in self)

    def __len__(self) -> int:
        """Return the number of names."""
        return sum(1 for _ in self)
