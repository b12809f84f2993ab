"""Runs that die in the middle of their work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import numpy as np
from scipy import sparse

import cellucid_dask
from cellucid_dask.store.target import Target, Writer
from tests.helpers import SETTINGS

WRITES = ((Writer, "put"), (Target, "publish"), (Target, "create"), (Target, "remove"))


def make(storage: str, seed: int = 0, n_cells: int = 2000, n_genes: int = 24) -> ad.AnnData:
    generator = np.random.default_rng(seed)
    matrix = sparse.random(n_cells, n_genes, 0.2, "csr", np.float32, random_state=generator)
    adata = ad.AnnData(
        matrix.asformat(storage), obsm={"X_umap": generator.random((n_cells, 2), np.float32)}
    )
    adata.obs["kind"] = generator.choice(["a", "b"], n_cells)
    return adata


def export(source: Any, target: Any, **options: Any) -> cellucid_dask.ExportResult:
    return cellucid_dask.export(source, target, **{**SETTINGS, **options})


def crash(source: Any, target: Path, at: int | None, **options: Any) -> bool:
    """Export in a process that dies at a write; return whether it died.

    `at` is the number of writes before that one; ``None`` is the first write after some genes
    are finished.
    """
    child = os.fork()
    if child == 0:
        calls = None if at is None else iter(range(at))

        def dies() -> bool:
            if calls is None:
                return any(target.glob(".cellucid-dask/receipts/*"))
            return next(calls, None) is None

        for kind, name in WRITES:
            setattr(kind, name, _dying(getattr(kind, name), dies))
        try:
            with dask.config.set(scheduler="sync"):
                export(source, target, **{"memory_budget": "3MiB", **options})  # many blocks
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def is_over(target: Path) -> bool:
    """Whether the run came to its end, so that there is nothing to resume."""
    record = target / ".cellucid-dask" / "run.json"
    return (target / "dataset_identity.json").exists() and not record.exists()


def _dying(write: Callable[..., Any], dies: Callable[[], bool]) -> Callable[..., Any]:
    def wrapper(self: Any, what: Any, *more: Any) -> Any:
        result = None
        for each in [{name: what[name]} for name in what] if isinstance(what, dict) else [what]:
            if dies():
                os._exit(9)
            result = write(self, each, *more)
        return result

    return wrapper


def moments(run: Callable[[int], bool], step: int = 1) -> int:
    """Run with a crash at every write, until one gets through; return the number of writes."""
    at = 0
    while run(at):
        at += step
    return at


def stopped(source: Any, target: Path, **options: Any) -> Path:
    """Leave a run that has encoded some genes and not all."""
    assert crash(source, target, None, **options)
    assert list(target.glob(".cellucid-dask/receipts/*"))
    return target
