"""A small run of `tests/fuzz_kernel.py`, and what happens without a kernel that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellucid_dask import RequestError
from cellucid_dask.kernel.library import library
from tests.fuzz_kernel import run, sanitizer


@pytest.mark.skipif(sanitizer() is None, reason="there is no compiler with AddressSanitizer")
def test_random_input_with_sanitizers() -> None:
    finished = run(600)
    assert finished.returncode == 0, finished.stdout[-4000:]
    assert "600 cases" in finished.stdout


def test_missing_kernel(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"is missing: install it again with `pip install "):
        library(tmp_path / "_kernel.so")


@pytest.mark.parametrize("content", [b"", b"\x7fELF of another machine"])
def test_kernel_of_another_machine(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "_kernel.so").write_bytes(content)
    with pytest.raises(RequestError, match="does not fit this machine"):
        library(tmp_path / "_kernel.so")
