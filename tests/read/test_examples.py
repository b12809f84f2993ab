"""The examples of the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["open_export", "verify"])
def test_examples(name: str) -> None:
    failed, attempted = doctest.testmod(import_module(f"cellucid_dask.read.{name}"))
    assert attempted
    assert not failed
