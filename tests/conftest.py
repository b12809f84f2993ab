from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import ROOT, small_anndata, write_h5ad

# A busy machine is no error.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest.register_assert_rewrite("tests.viewer_reader")


UNIT = ROOT / "tests/unit"
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure the coverage of unit tests, and of the first case of each other test.

    Before Python 3.12, to note the lines takes a small export a quarter more time, and its check
    twice as much.
    """
    measured: set[str] = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test in measured and not item.path.is_relative_to(UNIT):
            item.add_marker("no_cover")
        measured.add(test)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data sets, which is no part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not there: ../shared/data is missing")
    return SHARED_DATA


@pytest.fixture
def small_h5ad(tmp_path: Path) -> Path:
    """Return an ordinary h5ad file of 40 cells and 12 genes."""
    return write_h5ad(small_anndata(), tmp_path / "small.h5ad")
