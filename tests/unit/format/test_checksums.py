"""Digests of files are computed where something will compare them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output.cellucid_zarr.arrays import Hierarchy
from cellucid_dask.store.target import Target

CONTENT = b"codes of a gene"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def test_only_stores_report_an_md5() -> None:
    assert FileDigest.of(CONTENT, md5=True) == (len(CONTENT), SHA256, MD5)
    assert FileDigest.of(CONTENT, md5=False) == (len(CONTENT), SHA256, "")
    assert FileDigest.size_of(CONTENT) == (len(CONTENT), "", "")


@pytest.mark.parametrize("is_local", [True, False])
def test_digests_of_what_is_written_at_once(tmp_path: Path, *, is_local: bool) -> None:
    url = str(tmp_path) if is_local else f"memory://{tmp_path}"
    target = Target.of(url, {})
    store = Hierarchy.in_target(target)
    store.put("obsp/data/0", CONTENT)
    assert store.files == {"obsp/data/0": (len(CONTENT), SHA256, "" if is_local else MD5)}
    assert target.read("obsp/data/0") == CONTENT
