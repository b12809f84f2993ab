"""A lease on a target, so that one run at a time writes to it; it expires when its owner dies.

Local disks, memory, S3, GCS and Azure create the file of a lease only if there is none, so
one of two runs is certainly refused. Other stores are asked first: two runs that begin in the
same instant may both go on.
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


class Lease:
    """A file in the target that says which process is writing to it.

    Parameters
    ----------
    renew_every, valid_for
        Seconds. It is renewed often, so that only a dead owner lets it expire.
    """

    def __init__(self, target: Target, renew_every: float = 20.0, valid_for: float = 90.0) -> None:
        self._target = target
        self._renew_every, self._valid_for = renew_every, valid_for
        self._me = {"token": uuid.uuid4().hex, **this_process()}
        self._ended = threading.Event()
        self._lost = False

    def take(self) -> None:
        """Take the lease, in one step where the store can, or refuse."""
        while not self._target.create(_LEASE, self._document()):
            refuse_if_leased(self._target)
            self._target.remove([_LEASE])  # its owner is dead

    def _document(self) -> bytes:
        return json.dumps({**self._me, "expires": time.time() + self._valid_for}).encode()

    def keep(self) -> None:
        """Renew the lease until it is released."""
        while not self._ended.wait(self._renew_every):
            with suppress(Exception):  # the next turn comes well before it expires
                if not self._is_mine():
                    self._lost = True
                    return
                self._target.put({_LEASE: self._document()})

    def _is_mine(self) -> bool:
        current = _read(self._target)
        return current is not None and current["token"] == self._me["token"]

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
        with suppress(Exception):  # it expires by itself
            if self._is_mine():
                self._target.remove([_LEASE])


def refuse_if_leased(target: Target) -> None:
    """Refuse a target that another run is writing to.

    Raises
    ------
    RequestError
        Saying whose it is and how long to wait.
    """
    lease = _read(target)
    if lease is None:
        return
    wait = lease["expires"] - time.time()
    alive = is_running(lease)
    if alive or (alive is None and wait > 0):
        raise RequestError(
            f"{target.url} is being written to by another run (process {lease['pid']} on "
            f"{lease['host']}): wait for it, or stop it and try again in {max(wait, 0):.0f} s."
        )


def _read(target: Target) -> Mapping[str, Any] | None:
    data = target.read(_LEASE)
    if data is None:
        return None
    try:
        lease: Mapping[str, Any] = json.loads(data)
        float(lease["expires"])
    except (ValueError, KeyError, TypeError):
        return {"token": "", "expires": 0.0, "host": "", "pid": 0, "started": 0.0}
    return lease


@contextmanager
def acquire_lease(target: Target) -> Iterator[Lease]:
    """Keep other runs out of a target while the block runs.

    Raises
    ------
    RequestError
        Another run is writing to it.
    """
    lease = Lease(target)
    lease.take()
    renewal = threading.Thread(target=lease.keep, daemon=True, name="lease")
    renewal.start()
    try:
        yield lease
    finally:
        lease.release()
        renewal.join(timeout=20)
        target.remove_if_empty(RUN_DIR)
