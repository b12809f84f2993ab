"""Damages of one file of an export as cellucid-zarr: `verify` finds each without the source.

``python -m tests.trust.zarr_damages 1200`` does as many, one to a copy, as `damages` does: of every
file, and of values, names and metadata so that each file is well formed.
"""

from __future__ import annotations

import random
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import numcodecs
import numpy as np

from tests.helpers import SETTINGS, edit_json
from tests.trust.counting import main
from tests.trust.damages import Damage, damages, edit_checksums, full_adata

FULL: dict[str, Any] = {
    **SETTINGS, "page": True, "format": "cellucid-zarr", "connectivities": "connectivities",
}  # fmt: skip


def _adata(seed: int) -> ad.AnnData:
    adata = full_adata(seed)
    half = adata.obsp["connectivities"]
    adata.obsp["connectivities"] = half + half.T
    return adata


def _rewrite(array: str, dtype: str, target: Path, dice: random.Random) -> None:
    """Change a value of a chunk, and pack it again."""
    file = dice.choice(sorted((target / array).glob("[0-9]*")))
    values = np.frombuffer(zlib.decompress(file.read_bytes()), dtype).copy()
    values[dice.randrange(len(values))] += 1
    file.write_bytes(zlib.compress(values.tobytes()))


def _rename(array: str, target: Path, dice: random.Random) -> None:
    """Change a text of a chunk."""
    file, codec = target / array / "0", numcodecs.VLenUTF8()
    texts = codec.decode(zlib.decompress(file.read_bytes()))
    texts[dice.randrange(len(texts))] = "another"
    file.write_bytes(zlib.compress(codec.encode(texts)))


def _rename_export(target: Path, _: random.Random) -> None:
    file = target / "uns/cellucid/name/0"
    text = np.array(["Other"], object)
    file.write_bytes(zlib.compress(numcodecs.VLenUTF8().encode(text)))


def _edit_metadata(target: Path, dice: random.Random) -> None:
    def edit(found: dict[str, Any]) -> None:
        path = dice.choice(sorted(each for each in found["metadata"] if each.endswith(".zattrs")))
        found["metadata"][path]["encoding-version"] = "0.3.0"

    edit_json(target / ".zmetadata", edit)


def _forget_metadata(target: Path, dice: random.Random) -> None:
    def edit(found: dict[str, Any]) -> None:
        del found["metadata"][dice.choice(sorted(found["metadata"]))]

    edit_json(target / ".zmetadata", edit)


def _other_order(target: Path, _: random.Random) -> None:
    edit_json(target / "obs/.zattrs", lambda found: found["column-order"].reverse())


WELL_FORMED: dict[str, Damage] = {
    "other values": partial(_rewrite, "X/data", "<f4"),
    "points moved": partial(_rewrite, "obsm/X_umap", "<f4"),
    "weights changed": partial(_rewrite, "obsp/connectivities/data", "<f4"),
    "codes changed": partial(_rewrite, "obs/cell_type/codes", "<i1"),
    "category renamed": partial(_rename, "obs/cell_type/categories"),
    "gene renamed": partial(_rename, "var/_index"), "cell renamed": partial(_rename, "obs/_index"),
    "export renamed": _rename_export, "columns in another order": _other_order,
    "metadata edited": _edit_metadata, "metadata forgotten": _forget_metadata,
    "checksum removed": edit_checksums,
}  # fmt: skip


zarr_damages = partial(damages, make=_adata, settings=FULL, well_formed=WELL_FORMED)

if __name__ == "__main__":
    main(zarr_damages, 1200)
