"""Names of types that many modules use."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Json = dict[str, Any]
# Lengths of blocks along one axis.
Sizes = tuple[int, ...]


class UniversalPath(Protocol):
    """A path in any store, as `UPath` of universal_pathlib is one."""

    @property
    def protocol(self) -> str:
        """Name of the file system."""

    @property
    def path(self) -> str:
        """Path in the file system."""

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """Options of the file system."""


PathOrUrl = str | os.PathLike[str] | UniversalPath
