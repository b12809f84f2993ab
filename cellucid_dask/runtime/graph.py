"""The graph of a run: its tasks by key, and computing it on whatever scheduler is active."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.threaded
from dask._task_spec import Alias  # documented in Dask's graph specification
from dask.core import get_dependencies
from dask.optimization import cull
from dask.typing import Key

_FAN_IN = 64


@dataclass(frozen=True)
class Work:
    """The graph of a run, and the keys in it that matter to who runs it.

    Attributes
    ----------
    graph
        All tasks, by key.
    whole
        Key of the result.
    reads, encodes
        Keys of the tasks that read the cells to wait as parts, and that put genes.
    """

    graph: Mapping[Key, Any]
    whole: str
    reads: tuple[str, ...]
    encodes: tuple[str, ...]


class Builder:
    """Adds task after task to a graph: chained delayed calls would take quadratic time.

    Parameters
    ----------
    shared
        By name, what many tasks are told.
    """

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self._token = uuid.uuid4().hex[:12]  # tells the keys of this run from those of others
        self._tasks: dict[Key, Any] = {self.shared(name): what for name, what in shared.items()}
        self._array = ""
        self._needed: Counter[Key] = Counter()

    def read(self, array: Any) -> None:
        """Add the tasks of a Dask array, to take its blocks."""
        (array,) = dask.optimize(array)
        self._array = array.name
        graph = dict(array.dask)
        self._needed.update(each for key in graph for each in get_dependencies(graph, key))
        self._tasks.update(graph)

    def shared(self, name: str) -> str:
        """Key of what many tasks are told."""
        return f"{name}-{self._token}"

    def add(self, name: str, number: str | int, function: Callable[..., Any], *args: Any) -> str:
        """Add a task; strings among `args` that are keys stand for results."""
        key = f"{name}-{self._token}-{number}"
        self._tasks[key] = (function, *args)
        return key

    def block(self, *place: int) -> Any:
        """Return what reads a block of the array, to become part of the task that needs it.

        As a task of its own, which a scheduler may run long before its result is wanted, it
        could fill the memory of workers with blocks that wait.
        """
        key: Key = (self._array, *place)
        while isinstance(self._tasks[key], Alias) and self._needed[self._tasks[key].target] == 1:
            key = self._tasks.pop(key).target
        return key if self._needed[key] > 1 else self._tasks.pop(key)

    def reduce(self, name: str, keys: Sequence[str], join: Callable[[Any], Any]) -> str:
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

    def work(self, whole: str, reads: Sequence[str], encodes: Sequence[str]) -> Work:
        """Return the graph with all that the result needs."""
        graph, _ = cull(self._tasks, [whole])
        return Work(graph, whole, tuple(reads), tuple(encodes))
