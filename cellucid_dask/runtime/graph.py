"""The task graph of a run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
from dask.optimization import cull
from dask.typing import Key

_FAN_IN = 64


@dataclass(frozen=True)
class TaskGraph:
    """The tasks of a run, and the keys among them that matter to who runs it.

    Attributes
    ----------
    tasks
        All tasks, by key.
    result
        Key of the result.
    reads, encodes
        Keys of the tasks that read cells to wait as tiles, and that put genes; progress counts
        both.
    """

    tasks: Mapping[Key, Any]
    result: Key
    reads: tuple[Key, ...]
    encodes: tuple[Key, ...]


class GraphBuilder:
    """Adds task after task to a graph: chained delayed calls would take quadratic time."""

    def __init__(self) -> None:
        self._token = uuid.uuid4().hex[:12]  # keys of this run are unlike those of others
        self._tasks: dict[Key, Any] = {}

    def name(self, name: str) -> str:
        """Return a name for keys of this run."""
        return f"{name}-{self._token}"

    def share(self, name: str, value: Any) -> str:
        """Add a value that many tasks need, and return its key."""
        key = self.name(name)
        self._tasks[key] = value
        return key

    def add(self, name: str, number: str | int, function: Callable[..., Any], *args: Any) -> str:
        """Add a task and return its key; keys among `args` stand for results."""
        key = f"{self.name(name)}-{number}"
        self._tasks[key] = (function, *args)
        return key

    def include(self, array: Any) -> None:
        """Add the tasks of a Dask array, chains of them fused."""
        (optimized,) = dask.optimize(array)
        self._tasks.update(dict(optimized.dask))

    def reduce(self, name: str, keys: Sequence[Key], join: Callable[[Any], Any]) -> Key:
        """Join the results of tasks as a tree: no task waits for all of them at once."""
        level = 0
        while True:
            keys = [
                self.add(name, f"{level}.{start}", join, list(keys[start : start + _FAN_IN]))
                for start in range(0, len(keys), _FAN_IN)
            ]
            if len(keys) == 1:
                return keys[0]
            level += 1

    def build(self, result: Key, reads: Sequence[Key], encodes: Sequence[Key]) -> TaskGraph:
        """Return the graph of all that the result needs."""
        tasks, _ = cull(self._tasks, [result])
        return TaskGraph(tasks, result, tuple(reads), tuple(encodes))
