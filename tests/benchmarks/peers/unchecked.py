"""Our own export without what makes it trustworthy: the difference is the price of that.

There are no checksums of files and of scratch, no last look at the files before they are announced,
and nobody waits until they are on the disk.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np

from cellucid_dask.cli.commands import main
from cellucid_dask.encode.kernel_tiles import Tiles
from cellucid_dask.engine import publish
from cellucid_dask.store import local_writer
from cellucid_dask.store.target import Target


class _Nothing:
    """A digest that is not computed."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def hexdigest(self) -> str:
        return "0" * 64


def _nothing(*_: Any) -> None: ...


for module, name, instead in (
    (hashlib, "sha256", _Nothing),
    (Tiles, "sums", lambda tiles: np.zeros((len(tiles), tiles.n_genes), np.uint64)),
    (publish, "_look", _nothing),
    (local_writer, "flush_file", _nothing),
    (Target, "flush", _nothing),
    (Target, "tag", lambda *_: ""),
):
    assert hasattr(module, name)
    setattr(module, name, instead)

source, target = sys.argv[1:]
sys.exit(main(["export", source, target, "--no-progress"]))
