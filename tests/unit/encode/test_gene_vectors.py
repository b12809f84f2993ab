"""Tiles, vectors and their bytes, against one gene at a time in plain numpy."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cellucid_dask import ExportError
from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.gene_vectors import GeneVectors
from cellucid_dask.encode.tiles import SparseTile, Tile, tiles_of

SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1.5, 2.0, 3e38, 7.0]
DTYPES = ["?", "i1", "u2", "i8", "f2", "f4", "f8"]


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Draw a small dense matrix with all that goes wrong in real ones."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 8)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = random.choice(SPECIAL if dtype.kind == "f" else [0, 0, 1, 5, 100], shape)
    values[:, random.random(shape[1]) < 0.2] = values[0, 0]  # constant genes
    values[random.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


def expected(gene: np.ndarray[Any, Any], bits: int | None) -> tuple[Any, float, float]:
    """Quantize one gene as the format says, in the plainest way."""
    with np.errstate(over="ignore"):
        values = gene.astype(np.float32)
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if bits is None:
        return values, low, high
    most = 2**bits - 2
    codes = np.full(values.shape, 2**bits - 1)
    rate = most / (high - low) if high > low else 0.0
    codes[np.isfinite(values)] = np.rint((finite - low) * rate)
    return codes, low, high


def vectors_of(tiles: list[Tile], n_cells: int, bits: int | None) -> np.ndarray[Any, Any]:
    """Make the vectors of all genes."""
    genes = GeneVectors(tiles, n_cells)
    return genes.vectors(0, genes.n_genes, bits)


def cut(matrix: np.ndarray[Any, Any], form: str, height: int) -> list[Any]:
    """Cut a matrix into row blocks of a form."""
    if matrix.dtype == np.float16 and form != "dense":
        matrix = matrix.astype(np.float32)  # scipy has no sparse matrix of halves
    kinds = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}
    return [kinds[form](matrix[at : at + height]) for at in range(0, len(matrix), height)]


@given(
    matrices(),
    st.sampled_from(["csr", "csc", "dense"]),
    st.sampled_from([8, 16, None]),
    st.integers(1, 30),
    st.sampled_from([1, 3, 1000]),
    st.booleans(),
)
def test_vectors_of_any_cut(
    matrix: np.ndarray[Any, Any],
    form: str,
    bits: int | None,
    height: int,
    tile_values: int,
    backwards: bool,
) -> None:
    tiles = [
        tile
        for number, block in enumerate(cut(matrix, form, height))
        for tile in tiles_of(block, number * height, tile_values=tile_values)
    ]
    found = GeneVectors(tiles[::-1] if backwards else tiles, len(matrix))
    vectors = found.vectors(0, found.n_genes, bits)
    for gene in range(matrix.shape[1]):
        codes, low, high = expected(matrix[:, gene], bits)
        np.testing.assert_array_equal(vectors[gene], codes)
        assert (found.lowest[gene], found.highest[gene]) == (low, high)
        with np.errstate(over="ignore"):
            missing = ~np.isfinite(matrix[:, gene].astype(np.float32))
        assert found.n_missing[gene] == missing.sum()
    assert not np.signbit(found.lowest[found.lowest == 0]).any()


@given(
    matrices(),
    st.sampled_from(["csr", "csc", "dense"]),
    st.integers(1, 30),
    st.data(),
)
def test_columns_are_those_of_scipy(
    matrix: np.ndarray[Any, Any], form: str, height: int, data: st.DataObject
) -> None:
    tiles = [
        tile
        for number, block in enumerate(cut(matrix, form, height))
        for tile in tiles_of(block, number * height, tile_values=5)
    ]
    genes = GeneVectors(tiles[::-1], len(matrix))
    first = data.draw(st.integers(0, genes.n_genes))
    last = data.draw(st.integers(first, genes.n_genes))
    with np.errstate(over="ignore", invalid="ignore"):
        chosen = matrix[:, first:last].astype(np.float32)
    counts = np.count_nonzero(chosen, axis=0)
    values, cells = genes.columns(first, counts)
    cell_of, gene_of = np.nonzero(chosen.T)[::-1]
    np.testing.assert_array_equal(cells, cell_of)
    np.testing.assert_array_equal(values, chosen[cell_of, gene_of])
    for gene in range(len(counts)):
        for other in (counts[gene] - 1, counts[gene] + 1):
            wrong = counts.copy()
            wrong[gene] = other
            if other >= 0:
                with pytest.raises(ExportError, match="not the same"):
                    genes.columns(first, wrong)


def test_columns_of_cells_out_of_order_are_refused() -> None:
    for cells in ([1, 0], [0, 0], [0, 3]):
        tile = SparseTile(0, 3, np.array([0, 2]), np.array(cells, np.uint16), np.ones(2, np.uint8))
        with pytest.raises(ExportError):
            GeneVectors([tile], 3).columns(0, np.array([2]))


@given(matrices(), st.data())
def test_chosen_columns(matrix: np.ndarray[Any, Any], data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.sets(st.integers(0, matrix.shape[1] - 1), min_size=1)))
    columns = np.array(sorted(chosen.tolist()))
    for form in ("csr", "csc", "dense"):
        tiles = list(tiles_of(cut(matrix, form, 99)[0], 0, columns, tile_values=7))
        vectors = vectors_of(tiles, len(matrix), 8)
        for row, gene in enumerate(columns):
            np.testing.assert_array_equal(vectors[row], expected(matrix[:, gene], 8)[0])


@given(
    st.sampled_from([sparse.csr_matrix, sparse.csc_matrix]),
    st.sampled_from(["?", "u1", "i8", "f4", "f8"]),
    st.integers(0, 2**16),
    st.sampled_from([8, 16, None]),
    st.sampled_from([1, 3, 1000]),
)
def test_entries_in_any_order_and_more_than_once(
    kind: Any, dtype: str, seed: int, bits: int | None, tile_values: int
) -> None:
    random = np.random.default_rng(seed)
    n_cells, n_genes = random.integers(1, 60), random.integers(1, 6)
    major, minor = (n_cells, n_genes) if kind is sparse.csr_matrix else (n_genes, n_cells)
    indptr = np.concatenate([[0], np.cumsum(random.integers(0, 6, major))])
    indices = random.integers(0, minor, indptr[-1])
    data = random.choice([0, 0, 1, 3, 9], indptr[-1]).astype(dtype)  # zeros stay stored
    block = kind((data, indices, indptr), shape=(n_cells, n_genes))
    dense = np.zeros((n_cells, n_genes), dtype)
    for line in range(major):
        for at in range(indptr[line], indptr[line + 1]):
            place = (line, indices[at]) if kind is sparse.csr_matrix else (indices[at], line)
            dense[place] += data[at]
    vectors = vectors_of(list(tiles_of(block, 0, tile_values=tile_values)), n_cells, bits)
    for gene in range(n_genes):
        np.testing.assert_array_equal(vectors[gene], expected(dense[:, gene], bits)[0])
    np.testing.assert_array_equal(block.indices, indices)


def test_duplicates_and_order_are_read_as_scipy_does() -> None:
    data = np.array([1, 2, 4, 8, 16], np.float32)
    block = sparse.csr_matrix((data, [2, 0, 2, 1, 1], [0, 3, 5]), shape=(2, 3))
    for each in (block, sparse.csc_matrix((data, [1, 0, 1, 0, 1], [0, 3, 4, 5]), shape=(2, 3))):
        untouched = each.copy()
        vectors = vectors_of(list(tiles_of(each, 0, tile_values=100)), 2, None)
        np.testing.assert_array_equal(vectors.T, each.toarray())
        np.testing.assert_array_equal(each.indices, untouched.indices)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i4", "u1", "?"])
@pytest.mark.parametrize("height", [100, 2**17])
def test_zeros_stored_dense_are_not_held(dtype: str, height: int) -> None:
    matrix = np.zeros((height, 3), dtype)
    matrix[5:20, 0] = matrix[height - 1, 2] = 1
    tiles = list(tiles_of(matrix, 0, tile_values=10))
    assert sum(tile.gene_nbytes.sum() for tile in tiles) == 16 * (2 + tiles[0].values.itemsize)
    vectors = vectors_of(tiles, height, None)
    np.testing.assert_array_equal(vectors.T, matrix)


def test_blocks_of_a_dense_matrix_may_be_full_or_not() -> None:
    matrix = np.zeros((60, 2), np.float32)
    matrix[20:40] = np.random.default_rng(0).normal(size=(20, 2))
    matrix[3, 1], matrix[50, 0] = np.nan, -np.inf
    tiles = [
        each for at in (0, 20, 40) for each in tiles_of(matrix[at : at + 20], at, tile_values=9)
    ]
    assert len({type(tile) for tile in tiles}) == 2
    vectors = vectors_of(tiles, 60, 8)
    for gene in range(2):
        np.testing.assert_array_equal(vectors[gene], expected(matrix[:, gene], 8)[0])


@pytest.mark.parametrize(
    ("indices", "indptr"),
    [([0, -1, 1], [0, 2, 3]), ([0, 9, 1], [0, 2, 3]), ([0, 1, 1], [0, 3, 2])],
)
def test_damaged_indices_are_refused(indices: list[int], indptr: list[int]) -> None:
    for kind in (sparse.csr_matrix, sparse.csc_matrix):
        block = kind((2, 2), dtype=np.float32)
        block.data, block.indices = np.ones(3, np.float32), np.array(indices, np.int32)
        block.indptr = np.array(indptr, np.int32)
        with pytest.raises(ExportError, match="damaged"):
            list(tiles_of(block, 0, tile_values=10))


def realistic(n_cells: int, density: float, kind: str) -> np.ndarray[Any, Any]:
    """Make codes as real genes have them."""
    random = np.random.default_rng(n_cells)
    counts = random.poisson(-np.log1p(-min(density, 0.99)), n_cells)
    depth = random.lognormal(0, 0.4, n_cells)
    values = {
        "counts": counts.astype(float),
        "normalized": np.log1p(counts / depth * 10),
        "scaled": np.clip(random.normal(0, 1, n_cells), -3, 10),
    }[kind]
    span = values.max() - values.min()
    return np.rint((values - values.min()) * (254 / span if span else 0)).astype(np.uint8)


@pytest.mark.parametrize("n_cells", [50, 700, 5_000, 40_000])
@pytest.mark.parametrize("density", [0.001, 0.03, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["counts", "normalized", "scaled"])
def test_files_are_as_small_as_zlib_makes_them(n_cells: int, density: float, kind: str) -> None:
    codes = realistic(n_cells, density, kind)
    data = compress(codes, 6)
    assert gzip.decompress(data) == codes.tobytes()
    assert compress(codes.copy(), 6) == data
    reference = zlib.compressobj(6, zlib.DEFLATED, 31)
    usual = len(reference.compress(codes.tobytes()) + reference.flush())
    assert len(data) <= usual * 1.01 + 8


@given(st.binary(max_size=5000), st.sampled_from(["u1", "<u2", "<f4"]), st.integers(1, 9))
def test_any_bytes_come_back(raw: bytes, dtype: str, level: int) -> None:
    vector = np.frombuffer(raw[: len(raw) // 4 * 4], dtype)
    assert gzip.decompress(compress(vector, level)) == vector.tobytes()
    assert compress(vector, None) == vector.tobytes()
