"""Values and cells of genes as zlib streams: any reader gets them back, and they stay small."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cellucid_dask.encode.compress import compress_numbers
from cellucid_dask.types import Array

Random = np.random.Generator
_CHUNK = 65_536
# 16,384 numbers of four bytes are a block, and 8,192 the distance that matches reach.
_LENGTHS = [0, 1, 2, 3, 63, 64, 65, 8_191, 8_193, 16_383, 16_384, 16_385, 70_001]


def _ascending(random: Random, n: int, share: float) -> Array:
    """Cells of genes, one gene after the other, each with that share of 200,000 cells."""
    genes = [np.flatnonzero(random.random(200_000) < share) for _ in range(1 + n // 2_000)]
    return np.resize(np.concatenate(genes), n).astype("<i4")


FAMILIES: dict[str, Callable[[Random, int], Array]] = {
    "zeros": lambda _, n: np.zeros(n, "<f4"),
    "ones": lambda _, n: np.ones(n, "<f4"),
    "counts": lambda random, n: random.poisson(1, n).astype("<f4"),
    "large counts": lambda random, n: random.negative_binomial(1, 0.01, n).astype("<f4"),
    "exact counts": lambda random, n: (random.poisson(3, n) + 2**25).astype("<f8"),
    "noise": lambda random, n: random.normal(size=n).astype("<f4"),
    "bits": lambda random, n: random.integers(0, 2**32, n, dtype="<u4"),
    "period as long as the window": lambda random, n: np.resize(random.normal(size=8192), n),
    "longer period": lambda random, n: np.resize(random.normal(size=8193), n).astype("<f4"),
    "runs": lambda random, n: np.repeat(random.normal(size=n // 9 + 1), 9)[:n].astype("<f4"),
    "all cells": lambda _, n: np.arange(n, dtype="<i4"),
    "most cells": lambda random, n: _ascending(random, n, 0.8),
    "some cells": lambda random, n: _ascending(random, n, 0.05),
    "few cells": lambda random, n: _ascending(random, n, 0.01),
    "cells that come again": lambda random, n: np.resize(_ascending(random, 999, 0.1), n),
}


def _plain(numbers: Array, *, shuffled: bool) -> bytes:
    """Return the bytes that are compressed."""
    if not shuffled:
        return numbers.tobytes()
    return numbers.view(np.uint8).reshape(-1, numbers.itemsize).T.tobytes()


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_zlib_reads_it(family: str, *, shuffled: bool) -> None:
    random = np.random.default_rng(len(family))
    for length in _LENGTHS:
        numbers = FAMILIES[family](random, length)
        stream = compress_numbers(numbers, shuffled=shuffled)
        decoder = zlib.decompressobj()
        assert decoder.decompress(stream) == _plain(numbers, shuffled=shuffled), length
        assert decoder.eof
        assert not decoder.unused_data


@given(
    st.sampled_from(["<u4", "<f8"]).flatmap(
        lambda dtype: arrays.arrays(
            dtype, st.integers(0, 300), elements=st.sampled_from([0, 1, 2, 255, 256, 65_537])
        )
    ),
    st.booleans(),
)
def test_any_numbers(numbers: Array, shuffled: bool) -> None:
    stream = compress_numbers(numbers, shuffled=shuffled)
    assert zlib.decompress(stream) == _plain(numbers, shuffled=shuffled)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_checksum_is_part_of_it(*, shuffled: bool) -> None:
    stream = compress_numbers(np.arange(1000, dtype="<i4"), shuffled=shuffled)
    with pytest.raises(zlib.error, match="incorrect data check"):
        zlib.decompress(stream[:-1] + bytes([stream[-1] ^ 1]))


@pytest.mark.parametrize(
    ("family", "shuffled", "most"),
    [
        ("counts", False, 1.4),
        ("large counts", False, 1.05),
        ("noise", False, 1.01),
        ("bits", False, 1.01),
        ("some cells", True, 1.05),
        ("few cells", True, 1.1),
        ("most cells", True, 1.35),
    ],
)
def test_it_is_about_as_small_as_level_6(family: str, *, shuffled: bool, most: float) -> None:
    numbers = FAMILIES[family](np.random.default_rng(0), _CHUNK)
    theirs = zlib.compress(_plain(numbers, shuffled=shuffled), 6)
    assert len(compress_numbers(numbers, shuffled=shuffled)) < most * len(theirs)


def test_noise_takes_hardly_more_than_itself() -> None:
    numbers = np.random.default_rng(0).integers(0, 2**32, 3 * _CHUNK, dtype="<u4")
    assert len(compress_numbers(numbers, shuffled=True)) < numbers.nbytes + 200


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        compress_numbers(np.zeros(3, "<u2"), shuffled=True)
    with pytest.raises(ValueError, match="contiguous"):
        compress_numbers(np.zeros(9, "<u4")[::2], shuffled=True)
