"""Checksums of an export: everybody can check them, and any change of one file is found."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import cellucid_dask
from tests.helpers import SETTINGS, edit_json, small_anndata, tree_bytes
from tests.read.damage import rewrite, swap

FULL: dict[str, Any] = {
    **SETTINGS,
    "page": True,
    "connectivities": "connectivities",
    "vector_fields": ["velocity_umap"],
    "cell_ids": True,
    "gene_aliases": "symbol",
}
Damage = Callable[[Path, random.Random], object]


def _adata(seed: int = 7) -> ad.AnnData:
    adata = small_anndata(n_cells=90, n_genes=20, seed=seed)
    adata.obsm["velocity_umap"] = np.ones((90, 2), np.float32)
    return adata


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export with everything that an export can have."""
    target = tmp_path_factory.mktemp("whole") / "export"
    cellucid_dask.export(_adata(), target, **FULL)
    return target


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export of the same kind of other data."""
    target = tmp_path_factory.mktemp("older") / "export"
    cellucid_dask.export(_adata(seed=8), target, **FULL)
    return target


def _files(target: Path) -> list[str]:
    """Return all files but the page."""
    names = sorted(name for name in tree_bytes(target) if not name.startswith("_page/"))
    return [name for name in names if name != "index.html"]


def test_sha256sum_reads_them(whole: Path) -> None:
    sums = (whole / "checksums.sha256").read_text()
    listed = {line.split("  ")[1]: line.split("  ")[0] for line in sums.splitlines()}
    assert sorted([*listed, "checksums.sha256", "dataset_identity.json"]) == _files(whole)
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


def _flip(target: Path, dice: random.Random) -> None:
    file = target / dice.choice(_files(target))
    data = bytearray(file.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)


def _cut(target: Path, dice: random.Random) -> None:
    file = target / dice.choice(_files(target))
    file.write_bytes(file.read_bytes()[: -dice.randint(1, 9)])


def _delete(target: Path, dice: random.Random) -> None:
    names = [name for name in _files(target) if name != "dataset_identity.json"]
    (target / dice.choice(names)).unlink()


def _swap(target: Path, dice: random.Random) -> None:
    folder = dice.choice(["var", "obs"])
    one, other = dice.sample([name for name in _files(target) if name.startswith(folder)], 2)
    swap(target / one, target / other)


def _other_values(target: Path, dice: random.Random) -> None:
    """Change codes inside a valid gzip."""
    names = [name for name in _files(target) if name.endswith("u8.gz")]

    def edit(codes: Any) -> None:
        codes[dice.randrange(len(codes))] ^= 1

    rewrite(target / dice.choice(names), edit)


def _swap_limits(target: Path, dice: random.Random) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        one, other = dice.sample(range(20), 2)
        fields = manifest["fields"]
        fields[one][1:], fields[other][1:] = fields[other][1:], fields[one][1:]

    edit_json(target / "var_manifest.json", edit)


def _rename_category(target: Path, dice: random.Random) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        field = dice.choice(manifest["_categoricalFields"])
        field[1][0] = "another"

    edit_json(target / "obs_manifest.json", edit)


def _edit_identity(target: Path, dice: random.Random) -> None:
    key = dice.choice(["name", "description", "created_at", "id"])
    edit_json(target / "dataset_identity.json", lambda identity: identity.update({key: "other"}))


def _unsign(target: Path, dice: random.Random) -> None:
    def edit(identity: dict[str, Any]) -> None:
        del identity["export_settings"][dice.choice(["checksums_sha256", "identity_sha256"])]

    edit_json(target / "dataset_identity.json", edit)


DAMAGE: dict[str, Damage] = {
    "bit flipped": _flip,
    "cut": _cut,
    "deleted": _delete,
    "swapped": _swap,
    "other values": _other_values,
    "limits swapped": _swap_limits,
    "category renamed": _rename_category,
    "identity edited": _edit_identity,
    "identity unsigned": _unsign,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_every_damage_is_found_without_the_source(whole: Path, tmp_path: Path, kind: str) -> None:
    for seed in range(12):
        target = tmp_path / str(seed)
        shutil.copytree(whole, target)
        DAMAGE[kind](target, random.Random(seed))
        report = cellucid_dask.verify(target)
        assert not report.ok, (kind, seed)
        assert report.has_checksums or kind in ("bit flipped", "cut", "deleted")


def test_every_file_of_an_older_export_is_found(whole: Path, older: Path, tmp_path: Path) -> None:
    for number, name in enumerate(_files(whole)):
        if (older / name).read_bytes() == (whole / name).read_bytes():
            continue
        target = tmp_path / str(number)
        shutil.copytree(whole, target)
        shutil.copy(older / name, target / name)
        assert not cellucid_dask.verify(target).ok, name


def test_what_is_whole_passes(whole: Path) -> None:
    report = cellucid_dask.verify(whole, _adata(), genes="all")
    assert report.ok, report.findings
    assert report.has_checksums
    assert "no checksums" not in str(report)


def test_genes_added_are_in_the_checksums(tmp_path: Path) -> None:
    target = tmp_path / "export"
    adata = _adata()
    cellucid_dask.export(adata, target, **{**FULL, "gene_identifiers": ["gene1", "gene2"]})
    options = {**FULL, "genes_only": True, "force": True}
    cellucid_dask.export(adata, target, **options)
    report = cellucid_dask.verify(target)
    assert report.ok, report.findings
    assert report.has_checksums
    assert "var/gene19.values.u8.gz" in (target / "checksums.sha256").read_text()


def test_genes_alone_have_checksums(tmp_path: Path) -> None:
    target = tmp_path / "genes"
    cellucid_dask.export(_adata(), target, genes_only=True, progress=False)
    report = cellucid_dask.verify(target)
    assert report.ok, report.findings
    assert report.has_checksums
    edit_json(target / "var_manifest.json", lambda manifest: manifest["fields"].reverse())
    assert not cellucid_dask.verify(target).ok
