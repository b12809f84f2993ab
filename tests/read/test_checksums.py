"""Checksums of an export: everybody can check them, and any change of one file is found."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import cellucid_dask
from tests.helpers import edit_json
from tests.trust.damages import FULL, files_of, full_adata


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export with everything that an export can have."""
    target = tmp_path_factory.mktemp("whole") / "export"
    cellucid_dask.export(full_adata(), target, **FULL)
    return target


def test_sha256sum_reads_them(whole: Path) -> None:
    sums = (whole / "checksums.sha256").read_text()
    listed = {line.split("  ")[1]: line.split("  ")[0] for line in sums.splitlines()}
    assert sorted([*listed, "checksums.sha256", "dataset_identity.json"]) == files_of(whole)
    for name, digest in listed.items():
        assert hashlib.sha256((whole / name).read_bytes()).hexdigest() == digest
    if shutil.which("sha256sum"):
        command = ["sha256sum", "--strict", "-c", "checksums.sha256"]
        subprocess.run(command, cwd=whole, check=True, capture_output=True)


def test_the_identity_signs_itself(whole: Path) -> None:
    text = (whole / "dataset_identity.json").read_text()
    settings = json.loads(text)["export_settings"]
    own = settings["identity_sha256"]
    assert hashlib.sha256(text.replace(own, "").encode()).hexdigest() == own
    sums = (whole / "checksums.sha256").read_bytes()
    assert settings["checksums_sha256"] == hashlib.sha256(sums).hexdigest()


def test_what_is_whole_passes(whole: Path) -> None:
    report = cellucid_dask.verify(whole, full_adata(), genes="all")
    assert report.ok, report.findings
    assert report.has_checksums
    assert "no checksums" not in str(report)


def test_genes_added_are_in_the_checksums(tmp_path: Path) -> None:
    target = tmp_path / "export"
    adata = full_adata()
    cellucid_dask.export(adata, target, **{**FULL, "gene_identifiers": ["gene1", "gene2"]})
    options = {**FULL, "genes_only": True, "force": True}
    cellucid_dask.export(adata, target, **options)
    report = cellucid_dask.verify(target)
    assert report.ok, report.findings
    assert report.has_checksums
    assert "var/gene19.values.u8.gz" in (target / "checksums.sha256").read_text()


def test_genes_alone_have_checksums(tmp_path: Path) -> None:
    target = tmp_path / "genes"
    cellucid_dask.export(full_adata(), target, genes_only=True, progress=False)
    report = cellucid_dask.verify(target)
    assert report.ok, report.findings
    assert report.has_checksums
    edit_json(target / "var_manifest.json", lambda manifest: manifest["fields"].reverse())
    assert not cellucid_dask.verify(target).ok
