"""Tiles that went through scratch are those that were written, or an error."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from cellucid_dask.encode.tiles import DenseTile, Tile, tiles_of
from cellucid_dask.engine.stored_tiles import StoredGenes, StoredTile, write_tiles
from cellucid_dask.errors import ExportError
from cellucid_dask.store.scratch import Scratch
from cellucid_dask.types import Array

N_CELLS, N_GENES, FIRST = 300, 40, 7
CUTS = [7, 12, 30, 47]


def _matrix(kind: str) -> Array:
    dice = np.random.default_rng(3)
    matrix = np.where(dice.random((N_CELLS, N_GENES)) < 0.2, dice.random((N_CELLS, N_GENES)), 0)
    if kind == "counts":
        matrix = np.ceil(matrix * 9)
    if kind == "dense":
        matrix += 1
    else:
        matrix[:, 5:9] = 0  # genes without values
    return matrix.astype("f4")


def _stored(kind: str, scratch: Scratch) -> tuple[list[StoredTile], Array]:
    matrix = _matrix(kind)
    block = matrix if kind == "dense" else sparse.csr_matrix(matrix)
    tiles = list(tiles_of(block, 0, None, tile_values=400))
    return write_tiles(scratch, "1.tiles", iter(tiles), FIRST), matrix


def _dense(tiles: list[Tile], n_genes: int) -> Array:
    """Return genes x cells."""
    found = np.zeros((n_genes, N_CELLS), "f4")
    for tile in tiles:
        cells = slice(tile.first_cell, tile.first_cell + tile.n_cells)
        if isinstance(tile, DenseTile):
            found[:, cells] = tile.values
            continue
        for gene in range(n_genes):
            values = slice(int(tile.indptr[gene]), int(tile.indptr[gene + 1]))
            found[gene, tile.first_cell + tile.cells[values].astype(int)] = tile.values[values]
    return found


def _read_all(scratch: Scratch, stored: list[StoredTile], step: int) -> Array:
    parts = []
    for first, last in itertools.pairwise(CUTS):
        genes = StoredGenes(scratch, stored, first, last)
        bounds = [*range(0, last - first, step), last - first]
        read = [
            (genes.read(start, stop), stop - start) for start, stop in itertools.pairwise(bounds)
        ]
        parts += [_dense(tiles, n_genes) for tiles, n_genes in read]
    return np.concatenate(parts)


@pytest.mark.parametrize("step", [1, 4, 100])
@pytest.mark.parametrize("kind", ["sparse", "counts", "dense"])
def test_they_come_back(tmp_path: Path, kind: str, step: int) -> None:
    scratch = Scratch(str(tmp_path))
    stored, matrix = _stored(kind, scratch)
    np.testing.assert_array_equal(_read_all(scratch, stored, step), matrix.T)
    assert (tmp_path / "1.tiles").stat().st_size == sum(tile.nbytes for tile in stored)


def test_counts_take_three_bytes(tmp_path: Path) -> None:
    """One for a value and two for its cell, beside what does not depend on the values."""
    stored, matrix = _stored("counts", Scratch(str(tmp_path)))
    fixed = sum((tile.n_genes + 1) * 16 for tile in stored)
    assert sum(tile.nbytes for tile in stored) == fixed + 3 * np.count_nonzero(matrix)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_no_wrong_bit_is_silent(tmp_path: Path, kind: str) -> None:
    scratch, dice = Scratch(str(tmp_path)), random.Random(5)
    stored, _ = _stored(kind, scratch)
    assert any(tile.cell_dtype is not None for tile in stored) == (kind == "sparse")
    whole = (tmp_path / "1.tiles").read_bytes()
    for _ in range(200):
        wrong = bytearray(whole)
        wrong[dice.randrange(len(wrong))] ^= 1 << dice.randrange(8)
        (tmp_path / "1.tiles").write_bytes(wrong)
        with pytest.raises(ExportError, match=r"damaged|truncated"):
            _read_all(scratch, stored, 4)
