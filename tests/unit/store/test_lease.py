from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.lease import Lease, acquire_lease
from cellucid_dask.store.target import Target


def test_a_lease_is_renewed_until_it_is_lost(tmp_path: Path) -> None:
    path = tmp_path / ".cellucid-dask" / "lease.json"
    lease = Lease(Target(str(tmp_path)), renew_every=0.02, valid_for=60)
    lease.take()
    first = json.loads(path.read_text())
    assert 50 < first["expires"] - time.time() <= 60
    renewal = threading.Thread(target=lease.keep)
    renewal.start()
    deadline = time.monotonic() + 20
    while _expires(path) <= first["expires"]:
        assert time.monotonic() < deadline, "it is not renewed"
        time.sleep(0.01)
    lease.check()
    # another run takes it, when no renewal is under way that could undo this
    while renewal.is_alive():
        path.write_text(json.dumps({**first, "token": "another"}))
        assert time.monotonic() < deadline, "it is renewed though it was lost"
        time.sleep(0.01)
    with pytest.raises(ExportError, match="Another run has taken"):
        lease.check()
    lease.release()
    assert "another" in path.read_text()


def _expires(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["expires"])
    except ValueError:  # read while it was being written
        return 0.0


def test_one_at_a_time(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "out"))
    with acquire_lease(target):
        with pytest.raises(RequestError, match="by another run"), acquire_lease(target):
            pass
        assert target.names(".cellucid-dask") == {".cellucid-dask/lease.json"}
    assert not list(tmp_path.iterdir())
