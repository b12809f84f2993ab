"""Wrong bits in scratch: each ends the export in words, or changes nothing.

``python -m tests.trust.wrong_bits 24`` runs as many exports through scratch, in each of which one
bit of one of the files there turns as soon as it is written. A fault is an export of other bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest import mock

import anndata as ad
import dask
import numpy as np

import cellucid_dask
from cellucid_dask.store.scratch import Scratch
from tests.export.crashes import make
from tests.helpers import SETTINGS, tree_bytes
from tests.trust.counting import Case, main


def _sparse() -> ad.AnnData:
    return make("csr", n_cells=6_000, n_genes=36)


def _counts() -> ad.AnnData:
    adata = _sparse()
    adata.X.data[:] = np.ceil(adata.X.data * 9)
    return adata


def _dense() -> ad.AnnData:
    adata = _sparse()
    adata.X = adata.X.toarray() + np.float32(1)
    return adata


KINDS: dict[str, Callable[[], ad.AnnData]] = {"sparse": _sparse, "counts": _counts, "dense": _dense}


def wrong_bits(n_cases: int, folder: Path) -> Iterator[Case]:
    dice = random.Random(3)
    options = {**SETTINGS, "memory_budget": "3MiB", "latent": "X_umap", "scratch": str(folder)}
    for kind, make_adata in KINDS.items():
        make_adata().write_h5ad(folder / f"{kind}.h5ad")
    with dask.config.set(scheduler="sync"):
        for kind in KINDS:
            cellucid_dask.export(folder / f"{kind}.h5ad", folder / kind, **options)
        for number, kind in zip(range(n_cases), cycle(KINDS), strict=False):
            source, target = folder / f"{kind}.h5ad", folder / str(number)
            yield _export(source, target, options, tree_bytes(folder / kind), dice)


def _export(
    source: Path,
    target: Path,
    options: dict[str, Any],
    whole: dict[str, bytes],
    dice: random.Random,
) -> Case:
    kind = source.stem
    with _turning(dice) as turned:
        try:
            cellucid_dask.export(source, target, **options)
        except cellucid_dask.ExportError as error:
            is_said = "damaged" in str(error) or "truncated" in str(error)
            outcome, fault = "refused", "" if is_said else f"in other words: {error}"
        else:
            is_same = tree_bytes(target) == whole
            outcome, fault = "exported", "" if is_same else "other bytes, and not a word"
    if not turned:
        return Case(kind, "nothing turned", "nothing went through scratch")
    return Case(kind, outcome, fault)


@contextmanager
def _turning(dice: random.Random) -> Iterator[list[int]]:
    """Turn a bit of the first or second file that is written to scratch."""
    turned: list[int] = []
    left, write = dice.randrange(2), Scratch.write

    def turn(self: Scratch, name: str, arrays: Iterable[Any]) -> None:
        nonlocal left
        write(self, name, arrays)
        left -= 1
        if left == -1:
            file = Path(self.path(name))
            data = bytearray(file.read_bytes())
            turned.append(dice.randrange(8 * len(data)))
            data[turned[0] // 8] ^= 1 << turned[0] % 8
            file.write_bytes(data)

    with mock.patch.object(Scratch, "write", turn):
        yield turned


if __name__ == "__main__":
    main(wrong_bits, 24)
