"""Vectors of 8-bit codes become gzip members that every program inflates, and small ones."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.genes import encode_genes
from cellucid_dask.encode.tiles import DenseTile, SparseTile, tiles_of
from tests.codes import FAMILIES, with_gaps
from tests.helpers import INFLATE
from tests.viewer_reader import GZIP_HEADER

N_SEEDS = 40


def inflated(member: Any) -> np.ndarray[Any, Any]:
    """Decode a member with zlib, which checks length and checksum."""
    assert bytes(member[:8]) == GZIP_HEADER
    inflate = zlib.decompressobj(31)
    data = inflate.decompress(member)
    assert inflate.eof
    assert not inflate.unused_data
    return np.frombuffer(data, np.uint8)


def zlib_size(codes: Any) -> int:
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
    return len(deflate.compress(codes.tobytes()) + deflate.flush())


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str) -> None:
    for seed in range(N_SEEDS):
        codes = FAMILIES[family](np.random.default_rng(seed))
        member = compress(codes, 6)
        np.testing.assert_array_equal(inflated(member), codes)
        assert len(member) <= zlib_size(codes) * 1.02 + 12, seed


@pytest.mark.parametrize("n_codes", [1, 254])
def test_every_gap(n_codes: int) -> None:
    random = np.random.default_rng(0)
    for gap in range(600):
        for before, after in ((0, 0), (3, 1), (1000, 1000)):
            codes = with_gaps([before, gap, after], random, n_codes)
            np.testing.assert_array_equal(inflated(compress(codes, 6)), codes)
    every = with_gaps(random.permutation(600), random, n_codes)
    np.testing.assert_array_equal(inflated(compress(every, 6)), every)


@pytest.mark.parametrize("value", [0, 1, 143, 144, 255])
def test_every_length_of_a_constant(value: int) -> None:
    for n in range(600):
        codes = np.full(n, value, np.uint8)
        np.testing.assert_array_equal(inflated(compress(codes, 6)), codes)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255), st.integers(1, 300)), max_size=30),
    st.integers(0, 255),
    st.integers(1, 9),
)
def test_any_gaps_and_runs(parts: list[tuple[int, int, int]], background: int, level: int) -> None:
    runs = [(background, gap) for gap, _, _ in parts], [(code, run) for _, code, run in parts]
    pairs = [pair for both in zip(*runs, strict=True) for pair in both]
    codes = np.repeat([code for code, _ in pairs], [run for _, run in pairs]).astype(np.uint8)
    np.testing.assert_array_equal(inflated(compress(codes, level)), codes)
    assert gzip.decompress(compress(codes, level)) == codes.tobytes()


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node program")
def test_browser_stream_inflates(tmp_path: Path) -> None:
    digests = {}
    for number, make in enumerate(FAMILIES.values()):
        for seed in range(4):
            codes = make(np.random.default_rng(seed))
            path = tmp_path / f"{number}.{seed}.gz"
            path.write_bytes(compress(codes, 6))
            digests[str(path)] = hashlib.sha256(codes.tobytes()).hexdigest()
    run = subprocess.run(
        ["node", "-e", INFLATE], input=json.dumps([*digests]), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert json.loads(run.stdout) == [*digests.values()]


def tiles_of_codes(codes: Any, form: str, random: np.random.Generator) -> list[Any]:
    """Cut one gene, whose values are its codes, into tiles of a form."""
    cuts = np.sort(random.integers(0, len(codes) + 1, 3)).tolist()
    tiles: list[Any] = []
    for start, stop in zip([0, *cuts], [*cuts, len(codes)], strict=True):
        values = codes[start:stop].astype(np.float32)
        if form == "dense" or (form == "both" and random.random() < 0.5):
            tiles.append(DenseTile(start, values[None]))
        else:
            cells = np.arange(len(values)) if form == "zeros too" else np.flatnonzero(values)
            dtype = random.choice([np.uint16, np.uint32])
            indptr = np.array([0, len(cells)])
            tiles.append(SparseTile(start, len(values), indptr, cells.astype(dtype), values[cells]))
    return tiles


@pytest.mark.parametrize("family", FAMILIES)
def test_the_form_of_tiles_leaves_no_trace(family: str) -> None:
    random = np.random.default_rng(5)
    for seed in range(N_SEEDS // 4):
        codes = FAMILIES[family](np.random.default_rng(seed))
        codes = np.minimum(codes, 254)[:60_000]
        codes[: len(codes) // 2 : 97], codes[-1:] = 254, 0  # so that values are their own codes
        if 254 not in codes:
            continue
        expected = bytes(compress(codes, 6))
        for form in ("dense", "sparse", "both", "zeros too"):
            encoded = encode_genes(tiles_of_codes(codes, form, random), len(codes), 8, 6)
            ((member,),) = encoded.files
            assert bytes(member) == expected, (form, seed)


def test_files_that_do_not_fit_one_buffer() -> None:
    random = np.random.default_rng(0)
    matrix = random.integers(0, 255, (250_000, 7)).astype(np.float32)
    matrix[0], matrix[1] = 0, 254
    encoded = encode_genes(list(tiles_of(matrix, 0, tile_values=1)), len(matrix), 8, 6)
    members = list(itertools.chain.from_iterable(encoded.files))
    assert sum(map(len, members)) > 2**20
    for member, codes in zip(members, matrix.T, strict=True):
        np.testing.assert_array_equal(inflated(member), codes)


def test_sizes_of_sparse_genes() -> None:
    """Sizes in bytes are measured, with zlib's beside them: neither may grow unnoticed."""
    random = np.random.default_rng(1)
    for density, most in ((0.001, 0.8), (0.01, 0.8), (0.06, 0.86), (0.2, 0.86), (0.5, 0.9)):
        counts = random.poisson(-np.log1p(-density), 200_000)
        values = np.log1p(counts / random.lognormal(0, 0.4, len(counts)) * 10)
        codes = np.rint(values * 254 / values.max()).astype(np.uint8)
        assert len(compress(codes, 6)) <= most * zlib_size(codes), density
