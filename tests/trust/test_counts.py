"""Short versions of the scripts that count: none of their cases may have a fault."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.trust.counting import Case, table
from tests.trust.damages import damages
from tests.trust.kills import KINDS, kills
from tests.trust.leases import leases
from tests.trust.pauses import pauses
from tests.trust.power import IS_POSSIBLE, power
from tests.trust.wrong_bits import wrong_bits
from tests.trust.zarr_damages import zarr_damages

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# tests/unit/store/test_lease.py has the others, by a clock of its own
ODD_LEASES = (
    "alive and paused, of this system", "alive in another container",
    "alive, the taker's clock 95 s ahead", "record is a link", "record is a folder",
    "another user's", "record removed under a live run", "two takers",
    "S3 without conditions, alive", "S3 without conditions, dead",
)  # fmt: skip


def _without_faults(cases: Iterable[Case]) -> list[Case]:
    tried = list(cases)
    assert not [each for each in tried if each.fault], table(tried)
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS[:4], "Zarr, 2 processes"])
def test_killed_at_random_moments(tmp_path: Path, kind: str) -> None:
    tried = _without_faults(kills(3, tmp_path, (kind,)))
    assert any(each.outcome.startswith("killed") for each in tried)


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("kind", ["local", "S3"])
def test_paused_for_longer_than_the_lease_is_valid(tmp_path: Path, kind: str) -> None:
    _without_faults(pauses(2, tmp_path, (kind,)))


@needs_root
@pytest.mark.parametrize("name", ODD_LEASES)
def test_odd_leases(tmp_path: Path, name: str) -> None:
    _without_faults(leases(1, tmp_path, [name]))


@pytest.mark.skipif(not IS_POSSIBLE, reason="needs root, mkfs.ext4 and loop devices")
def test_power_cuts(tmp_path: Path) -> None:
    try:
        _without_faults(power(4, tmp_path))
    except OSError as error:
        pytest.skip(f"loop devices cannot be mounted here: {error}")


def test_wrong_bits_of_scratch(tmp_path: Path) -> None:
    _without_faults(wrong_bits(3, tmp_path))


def test_damages_of_single_files(tmp_path: Path) -> None:
    tried = _without_faults(damages(380, tmp_path, every=7))
    assert len({each.kind for each in tried}) > 10


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_damages_of_single_files_of_zarr(tmp_path: Path) -> None:
    tried = _without_faults(zarr_damages(900, tmp_path, every=41))
    assert len({each.kind for each in tried}) > 8
