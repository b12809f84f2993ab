"""One run a target: its owner holds a lease, which lapses when the owner dies.

Local disks, memory, S3, GCS and Azure create the lease only where there is none, so of two
runs one is refused for certain; other stores are asked first, which two runs that begin
in the same instant may both survive.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.owner import is_running, this_process
from cellucid_dask.store.target import RUN_DIR, Target

_LEASE = f"{RUN_DIR}/lease.json"
# Seconds: a lease is renewed often, so that only a dead owner ever lets it lapse.
_RENEW, _LIFE = 20.0, 90.0


class Lease:
    """What says that a target is being written to, and by whom."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._me = {"token": uuid.uuid4().hex, **this_process()}
        self._ended = threading.Event()
        self._lost = False

    def take(self) -> None:
        """Take the lease, in one step where the store can, or refuse."""
        while not self._target.create(_LEASE, self._document()):
            refuse_if_held(self._target)
            self._target.remove([_LEASE])  # its owner is dead

    def _document(self) -> bytes:
        return json.dumps({**self._me, "expires": time.time() + _LIFE}).encode()

    def keep(self) -> None:
        """Renew the lease until it is released."""
        while not self._ended.wait(_RENEW):
            with suppress(Exception):  # a store that stumbles now is asked again in time
                if not self._is_mine():
                    self._lost = True
                    return
                self._target.put({_LEASE: self._document()})

    def _is_mine(self) -> bool:
        held = _read(self._target)
        return held is not None and held["token"] == self._me["token"]

    def check(self) -> None:
        """Make sure that the target is still this run's.

        Raises
        ------
        ExportError
            Another run has taken it.
        """
        if self._lost or not self._is_mine():
            raise ExportError(
                f"Another run has taken {self._target.url} over, or cleared it: let it finish."
            )

    def release(self) -> None:
        """Give the lease back."""
        self._ended.set()
        with suppress(Exception):  # it lapses by itself
            if self._is_mine():
                self._target.remove([_LEASE])


def refuse_if_held(target: Target) -> None:
    """Refuse a target that another run is writing to.

    Raises
    ------
    RequestError
        Saying whose it is and how long to wait.
    """
    held = _read(target)
    if held is None:
        return
    wait = held["expires"] - time.time()
    alive = is_running(held)
    if alive or (alive is None and wait > 0):
        raise RequestError(
            f"{target.url} is being written to by another run (process {held['pid']} on "
            f"{held['host']}): wait for it, or stop it and try again in {max(wait, 0):.0f} s."
        )


def _read(target: Target) -> Mapping[str, Any] | None:
    data = target.read(_LEASE)
    if data is None:
        return None
    try:
        held: Mapping[str, Any] = json.loads(data)
        float(held["expires"])
    except (ValueError, KeyError, TypeError):
        return {"token": "", "expires": 0.0, "host": "", "pid": 0, "started": 0.0}
    return held


@contextmanager
def hold(target: Target) -> Iterator[Lease]:
    """Keep a target to oneself for as long as the block runs."""
    lease = Lease(target)
    lease.take()
    keeper = threading.Thread(target=lease.keep, daemon=True, name="lease")
    keeper.start()
    try:
        yield lease
    finally:
        lease.release()
        keeper.join(timeout=_RENEW)
        target.remove_if_empty(RUN_DIR)
