"""Damages of one file of an export: `verify` finds each without the source.

``python -m tests.trust.damages 340`` does as many, one to a copy: every file but the page's is cut,
emptied, extended, deleted, turned by a bit, swapped with its neighbor and replaced by that of an
older export; and values, limits, categories, centroids, edges and the identity are changed so that
each file is well formed. A fault is a damage that is not found.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

import cellucid_dask
from tests.helpers import SETTINGS, edit_json, small_anndata, tree_bytes
from tests.read.damage import rewrite, swap
from tests.trust.counting import Case, main

FULL: dict[str, Any] = {
    **SETTINGS,
    "page": True,
    "connectivities": "connectivities",
    "vector_fields": ["velocity_umap"],
    "cell_ids": True,
    "gene_aliases": "symbol",
}


Damage = Callable[[Path, random.Random], object]


def full_adata(seed: int = 7) -> ad.AnnData:
    adata = small_anndata(n_cells=90, n_genes=20, seed=seed)
    adata.obsm["velocity_umap"] = np.ones((90, 2), np.float32)
    return adata


def files_of(target: Path) -> list[str]:
    """Return all files but the page."""
    names = sorted(name for name in tree_bytes(target) if not name.startswith("_page/"))
    return [name for name in names if name != "index.html"]


def _turn_a_bit(file: Path, dice: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)


def _cut(file: Path, dice: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: -dice.randint(1, 9)])


def _extend(file: Path, dice: random.Random) -> None:
    file.write_bytes(file.read_bytes() + dice.choice([b" ", b"\n", b"\0"]))


def _empty(file: Path, _: random.Random) -> None:
    file.write_bytes(b"")


def _delete(file: Path, _: random.Random) -> None:
    file.unlink()


OF_ANY_FILE: dict[str, Damage] = {
    "a bit turned": _turn_a_bit, "cut": _cut, "extended": _extend, "emptied": _empty,
    "deleted": _delete,
}  # fmt: skip


def _other_values(target: Path, dice: random.Random) -> None:
    """Change codes inside a valid gzip."""
    names = [name for name in files_of(target) if name.endswith("u8.gz")]
    rewrite(target / dice.choice(names), lambda codes: _change(codes, dice))


def _change(codes: Any, dice: random.Random) -> None:
    codes[dice.randrange(len(codes))] ^= 1


def _move_points(target: Path, dice: random.Random) -> None:
    def edit(points: Any) -> None:
        points[dice.randrange(len(points))] *= np.float32(0.5)

    rewrite(target / "points_2d.bin.gz", edit, "<f4")


def _move_an_edge(target: Path, dice: random.Random) -> None:
    def edit(ends: Any) -> None:
        ends[dice.randrange(len(ends))] ^= 1

    rewrite(target / f"connectivity/edges.{dice.choice(['src', 'dst'])}.bin.gz", edit, "<u2")


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


def _move_centroid(target: Path, dice: random.Random) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        fields = [each for each in manifest["_categoricalFields"] if each[4]["2"]]
        dice.choice(dice.choice(fields)[4]["2"])["position"][0] += 0.25

    edit_json(target / "obs_manifest.json", edit)


def _rename_gene(target: Path, dice: random.Random) -> None:
    def edit(aliases: dict[str, Any]) -> None:
        aliases["names"][dice.randrange(20)] = "another"

    edit_json(target / "aliases.json", edit)


def _edit_identity(target: Path, dice: random.Random) -> None:
    key = dice.choice(["name", "description", "created_at", "id"])
    edit_json(target / "dataset_identity.json", lambda identity: identity.update({key: "other"}))


def _unsign(target: Path, dice: random.Random) -> None:
    def edit(identity: dict[str, Any]) -> None:
        del identity["export_settings"][dice.choice(["checksums_sha256", "identity_sha256"])]

    edit_json(target / "dataset_identity.json", edit)


def edit_checksums(target: Path, dice: random.Random) -> None:
    file = target / "checksums.sha256"
    lines = file.read_text().splitlines(keepends=True)
    del lines[dice.randrange(len(lines))]
    file.write_text("".join(lines))


WELL_FORMED: dict[str, Damage] = {
    "other values": _other_values, "points moved": _move_points, "edges moved": _move_an_edge,
    "limits swapped": _swap_limits, "category renamed": _rename_category,
    "centroid moved": _move_centroid, "alias renamed": _rename_gene,
    "identity edited": _edit_identity, "identity unsigned": _unsign,
    "checksum removed": edit_checksums,
}  # fmt: skip


def all_damages(
    whole: Path, older: Path, well_formed: Mapping[str, Damage]
) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Yield kinds of damages, and what does them to a copy of `whole`; without an end."""
    dice, files = random.Random(4), files_of(whole)
    for name in files:
        for kind, damage in OF_ANY_FILE.items():
            yield kind, partial(_damage, damage, name, dice)
        if (older / name).read_bytes() != (whole / name).read_bytes():
            yield "of an older export", partial(_replace, older, name)
    for one, other in pairwise(files):
        if (whole / one).read_bytes() != (whole / other).read_bytes():
            yield "swapped", partial(_swap, one, other)
    for kind, edit in cycle(well_formed.items()):
        yield kind, partial(_edit, edit, dice)


def _damage(damage: Damage, name: str, dice: random.Random, copy: Path) -> None:
    damage(copy / name, dice)


def _replace(older: Path, name: str, copy: Path) -> None:
    shutil.copy(older / name, copy / name)


def _swap(one: str, other: str, copy: Path) -> None:
    swap(copy / one, copy / other)


def _edit(edit: Damage, dice: random.Random, copy: Path) -> None:
    edit(copy, dice)


def damages(
    n_cases: int,
    folder: Path,
    every: int = 1,
    make: Callable[[int], ad.AnnData] = full_adata,
    settings: Mapping[str, Any] = FULL,
    well_formed: Mapping[str, Damage] = WELL_FORMED,
) -> Iterator[Case]:
    """Damage as many copies of an export that has everything, or every so many of them."""
    whole, older = folder / "whole", folder / "older"
    cellucid_dask.export(make(7), whole, **settings)
    cellucid_dask.export(make(8), older, **settings)
    tried = islice(all_damages(whole, older, well_formed), 0, n_cases, every)
    for number, (kind, damage) in enumerate(tried):
        copy = folder / str(number)
        shutil.copytree(whole, copy)
        damage(copy)
        ok = _is_well(copy)
        yield Case(kind, "not found" if ok else "found", f"damage {number}" if ok else "")
        shutil.rmtree(copy)


def _is_well(export: Path) -> bool:
    try:
        return cellucid_dask.verify(export, progress=False).ok
    except (cellucid_dask.RequestError, cellucid_dask.ExportError):
        return False


if __name__ == "__main__":
    main(damages, 340)
