"""Exports that are refused or warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import pytest

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError
from tests.helpers import small_anndata
from tests.viewer_reader import check


def refused(source: Any, target: Path, match: str, **options: Any) -> str:
    """Check that an export is refused for `match` and leaves nothing; return the words."""
    beside = sorted(target.parent.iterdir())
    with pytest.raises(RequestError, match=match) as refusal:
        cellucid_dask.export(source, target, **options)
    assert sorted(target.parent.iterdir()) == beside
    return str(refusal.value)


def assert_warned(source: Any, target: Path, match: str, **options: Any) -> None:
    with pytest.warns(ExportWarning, match=match):
        cellucid_dask.export(source, target, **options)
    check(target)


def with_genes(*genes: str) -> ad.AnnData:
    return small_anndata(genes=list(genes))
