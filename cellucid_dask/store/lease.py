"""A lease on a target, so that one run at a time writes to it.

The holder renews it, and a run that wants the target believes its own clock only: it takes a
lease that was not renewed for as long as it is valid, as this run saw it. What is renewed is
another file, so that nobody who comes late writes over the record of a successor. What can be
known to be dead, a process of this boot and container that does not run, is not waited for. A
run that was paused, and everyone who writes for it, finds out before the next file is written
that the target is another's (`Fence`). Not even the file that it was writing when it was paused
replaces one of its successor's: on a local disk it does not appear (`LocalWriter`), and S3, GCS and
Azure replace an object only if it is what it was before the run asked (`Uploads`).

Local disks, memory, S3, GCS and Azure create the record of a lease only if there is none, so
one of two runs is certainly refused. Other stores are asked before and after: of two runs that
begin in the same instant both may go on, until one finds the record of the other.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.document import parse_json
from cellucid_dask.store.local_writer import take_over
from cellucid_dask.store.owner import is_running, this_process
from cellucid_dask.store.target import RUN_DIR, Target

LEASE = f"{RUN_DIR}/lease.json"
_OWN = "run-"  # and the token: the folder of a run, see `LocalWriter`
_RENEWED = "renewed"  # in it


def elapsed() -> float:
    """Return seconds of a clock that goes on while the machine sleeps, and is never set."""
    clock = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Fence:
    """Asks, before files are written, whether the target still is the run's.

    It goes with the target to the processes that write for a run.

    Parameters
    ----------
    token
        Of the run.
    ask_every
        Seconds for which an answer is good; far fewer than a lease is valid.
    """

    def __init__(self, token: str, ask_every: float = 10.0) -> None:
        self._token, self._ask_every = token, ask_every
        self._asked = -ask_every  # before the first file is written

    @property
    def folder(self) -> str:
        """Where local files of the run lie until they are whole."""
        return f"{RUN_DIR}/{_OWN}{self._token}"

    def is_due(self) -> bool:
        """Whether the last answer is too old."""
        return elapsed() - self._asked >= self._ask_every

    def check(self, target: Target, *, now: bool = False) -> None:
        """Make sure that the target is this run's; `now` takes no earlier answer.

        Raises
        ------
        ExportError
            Another run has taken it.
        """
        if not (now or self.is_due()):
            return
        time_of_asking = elapsed()
        record = _read(target)
        if record is None or record.get("token") != self._token:
            raise ExportError(
                f"Another run has taken over {target}, or cleared it: wait until it finishes."
            )
        self._asked = time_of_asking

    def __getstate__(self) -> dict[str, Any]:
        """Leave the time behind: it is another machine's."""
        return {"token": self._token, "ask_every": self._ask_every}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Begin as a new one does."""
        vars(self).update(vars(Fence(**state)))


class Lease:
    """A record in the target that says which process is writing to it.

    Parameters
    ----------
    target
        What is leased.
    valid_for
        Seconds after which others may take it over if it was not renewed. It is renewed much more
        often, so that only a dead or paused owner lets it expire.
    """

    def __init__(self, target: Target, valid_for: float = 90.0) -> None:
        self._target, self._valid_for = target, valid_for
        self._renew_every = valid_for / 4.5
        self._record = {"token": uuid.uuid4().hex, **this_process()}
        self._renewed = 0
        self._ended = threading.Event()

    @property
    def fence(self) -> Fence:
        """A fence for those who write for this run."""
        return Fence(str(self._record["token"]), self._valid_for / 9)

    def take(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Take the lease, in one step where the store can, or refuse.

        Parameters
        ----------
        wait
            Sleeps for some seconds, between two looks at the record of a run that may be dead.

        Raises
        ------
        RequestError
            Another run is writing to the target.
        """
        while True:
            if self._wait_until_dead(wait):
                self._target.remove([LEASE])
            self._make_folder()  # first, or who takes the lease over could not take it
            if self._target.create(LEASE, self._document()) and self._is_mine():
                break
            self._remove_folder()
        own = self.fence.folder.rpartition("/")[2]
        if self._target.is_local:
            take_over(Path(self._target.path(RUN_DIR)), own, _OWN)
        else:
            for folder in self._target.folders(RUN_DIR) - {own}:
                if folder.startswith(_OWN):
                    self._target.remove(self._target.files(f"{RUN_DIR}/{folder}"))

    def _make_folder(self) -> None:
        if self._target.is_local:
            with self._target.explaining_writes():
                Path(self._target.path(self.fence.folder)).mkdir(parents=True)

    def _remove_folder(self) -> None:
        if self._target.is_local:
            shutil.rmtree(self._target.path(self.fence.folder), ignore_errors=True)
        else:  # its own, whoever has the target: no fence is asked
            unfenced = Target(self._target.url, self._target.storage_options)
            unfenced.remove([f"{self.fence.folder}/{_RENEWED}"])

    def _wait_until_dead(self, wait: Callable[[float], object]) -> bool:
        """Watch a record until it was the same for as long as it is valid; say if there is one."""
        (seen, renewed), since = _look(self._target), elapsed()
        while seen is not None and (alive := is_running(seen)) is not False:
            if alive:
                raise _taken(self._target, seen)
            if elapsed() - since >= self._valid_for:
                break
            wait(min(self._renew_every / 4, self._valid_for))
            current = _look(self._target)
            if current[0] is not None and current != (seen, renewed):
                raise _taken(self._target, current[0])
            seen = current[0]
        return seen is not None

    def _document(self) -> bytes:
        return json.dumps(self._record).encode()

    def keep(self) -> None:
        """Renew the lease until it is released or another run has it."""
        while not self._ended.wait(self._renew_every):
            with suppress(Exception):  # the next turn comes well before it expires
                if not self._is_mine():
                    return
                self._renewed += 1
                self._target.put({f"{self.fence.folder}/{_RENEWED}": b"%d" % self._renewed})

    def _is_mine(self) -> bool:
        current = _read(self._target)
        return current is not None and current.get("token") == self._record["token"]

    def check(self) -> None:
        """Make sure that the target is still this run's.

        Raises
        ------
        ExportError
            Another run has taken it.
        """
        self.fence.check(self._target, now=True)

    def end(self) -> None:
        """Renew it no more."""
        self._ended.set()

    def release(self) -> None:
        """Give the lease back."""
        with suppress(Exception):  # it expires by itself
            if self._is_mine():
                self._target.remove([LEASE])
        with suppress(Exception):
            self._remove_folder()


def refuse_if_leased(target: Target) -> None:
    """Refuse a target that a run of this machine is writing to; others may turn out to be dead.

    Raises
    ------
    RequestError
        Saying whose it is.
    """
    record = _read(target)
    if record is not None and is_running(record):
        raise _taken(target, record)


def _taken(target: Target, record: Mapping[str, Any]) -> RequestError:
    return RequestError(
        f"{target} is being written to by another run (process {record.get('pid')} on "
        f"{record.get('host')}): wait for it, or stop it and try again."
    )


def _read(target: Target) -> Mapping[str, Any] | None:
    data = target.read(LEASE)
    if data is None:
        return None
    try:
        return parse_json(data)
    except ValueError:  # cut short when its run was killed, or read while it was written
        return {"broken": data.hex()}


def _look(target: Target) -> tuple[Mapping[str, Any] | None, bytes | None]:
    """Return the record of a lease, and what changes when it is renewed."""
    record = _read(target)
    token = str((record or {}).get("token"))
    return record, target.read(f"{RUN_DIR}/{_OWN}{token}/{_RENEWED}") if token.isalnum() else None


@contextmanager
def acquire_lease(target: Target, valid_for: float = 90.0) -> Iterator[Lease]:
    """Keep other runs out of a target while the block runs; what writes there asks its fence.

    Raises
    ------
    RequestError
        Another run is writing to it.
    """
    lease = Lease(target, valid_for)
    lease.take()
    target.fence = lease.fence
    renewal = threading.Thread(target=lease.keep, daemon=True, name="lease")
    renewal.start()
    done = False
    try:
        yield lease
        done = True
    finally:
        lease.end()
        renewal.join(timeout=20)
        lease.release()
        if done:  # what a run that failed has left behind is to find out
            target.fence = None
        target.remove_if_empty(RUN_DIR)
