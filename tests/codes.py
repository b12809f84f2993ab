"""Vectors of 8-bit codes that an encoder of runs and gaps may stumble over, by family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator
Codes = np.ndarray[Any, np.dtype[np.uint8]]


def with_gaps(gaps: Any, random: Random, n_codes: int = 254) -> Codes:
    """Place a code after each gap."""
    codes = np.zeros(int(np.sum(gaps)) + len(gaps), np.uint8)
    codes[np.cumsum(np.asarray(gaps) + 1) - 1] = random.integers(1, n_codes + 1, len(gaps))
    return codes


def _length(random: Random) -> int:
    return int(random.integers(1, random.choice([10, 260, 3000, 60_000])))


def _scattered(random: Random, background: int = 0) -> Codes:
    n = _length(random)
    present = random.random(n) < 10 ** random.uniform(-4, 0)
    codes: Any = random.integers(0, random.choice([2, 3, 10, 255, 256]), n)
    if random.random() < 0.5:  # few large ones, as expression has it
        codes = codes * random.random(n) ** 3
    return np.where(present, codes, background).astype(np.uint8)


def _gaps(random: Random) -> Codes:
    highest = int(random.choice([5, 300, 600, 70_000]))
    return with_gaps(random.integers(0, highest, random.integers(1, 40)), random)


def _limits_of_matches(random: Random) -> Codes:
    """Make gaps and runs around the longest match, its multiples, and the shortest."""
    near = np.array([0, 1, 2, 3, 4, 5, 257, 258, 259, 260, 261, 262, 515, 516, 517, 518, 519, 775])
    gaps = random.choice(near, random.integers(1, 200))
    return with_gaps(gaps, random, int(random.choice([1, 5, 254])))


def _runs(random: Random) -> Codes:
    n = int(random.integers(1, 300))
    lengths = random.integers(1, random.choice([4, 20, 600]), n)
    return np.repeat(random.integers(0, random.choice([2, 4, 256]), n), lengths).astype(np.uint8)


def _rare_background(random: Random) -> Codes:
    """Make gaps of a code that is rare, so that its literals are long and their strings longer."""
    many = random.integers(1, random.choice([3, 40, 200]), int(random.integers(2000, 20_000)))
    at = np.sort(random.integers(0, len(many), random.integers(1, 60)))
    gap = np.zeros(int(random.integers(2, 60)))
    return np.insert(many, np.repeat(at, len(gap)), np.tile(gap, len(at))).astype(np.uint8)


def _skewed(random: Random) -> Codes:
    """Make frequencies of which the rarest have codes longer than deflate allows."""
    counts = np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584])
    counts = np.append(counts, np.array([4181, 6765, 10946])[: random.integers(0, 4)])
    symbols = random.permutation(256)[: len(counts)]
    return random.permutation(np.repeat(symbols, counts)).astype(np.uint8)


def _switching(random: Random) -> Codes:
    """Make stretches of different statistics, longer than what is planned together."""
    parts = []
    for _ in range(random.integers(2, 6)):
        n = int(random.integers(1, 30_000))
        low, high = np.sort(random.integers(0, 256, 2))
        present = random.random(n) < random.choice([0.02, 0.3, 1.0])
        parts.append(np.where(present, random.integers(low, high + 1, n), 0))
    return np.concatenate(parts).astype(np.uint8)


def _periodic(random: Random) -> Codes:
    n = _length(random)
    pattern = random.integers(0, 256, random.choice([1, 2, 2, 3, 7, 100]))
    return np.resize(pattern, n).astype(np.uint8)


def _missing(random: Random) -> Codes:
    codes = _scattered(random)
    codes[random.random(len(codes)) < random.random() ** 4] = 255
    return codes


FAMILIES: dict[str, Callable[[Random], Codes]] = {
    "scattered": _scattered,
    "another background": lambda random: _scattered(random, int(random.integers(1, 256))),
    "gaps": _gaps,
    "limits of matches": _limits_of_matches,
    "runs": _runs,
    "rare background": _rare_background,
    "skewed": _skewed,
    "switching": _switching,
    "periodic": _periodic,
    "missing": _missing,
    "one value": lambda random: np.full(_length(random), random.integers(0, 256), np.uint8),
    "short": lambda random: random.integers(
        0, random.choice([1, 2, 256]), random.integers(0, 259)
    ).astype(np.uint8),
    "noise": lambda random: random.integers(0, 256, _length(random)).astype(np.uint8),
    "sorted": lambda random: np.sort(_scattered(random)),
}
