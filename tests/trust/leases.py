"""Leases in odd circumstances: no live run loses its target, no dead one blocks it for long.

``python -m tests.trust.leases`` tries them all. A fault is a live run that is robbed, a dead one
that is not taken over, or a taker that ends in a raw error. Some need root.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.lease import Lease, acquire_lease
from cellucid_dask.store.owner import this_process
from cellucid_dask.store.target import Target
from tests.helpers import ROOT
from tests.services.stores import servers
from tests.services.stores.proxy import proxied
from tests.trust.counting import Case, main

VALID_FOR = 1.0
TAKEN, REFUSED = "taken over", "refused"
_HOLD = """
import sys, time
from cellucid_dask.store.lease import acquire_lease
from cellucid_dask.store.target import Target
with acquire_lease(Target(sys.argv[1]), float(sys.argv[2])) as lease:
    print("held", flush=True)
    sys.stdin.read()
    lease.check()
"""
_ELSEWHERE = {"token": "abc", "host": "elsewhere", "system": "s", "pid": 1, "started": 1.0}
Circumstance = Callable[[Path], str]


def _record(folder: Path) -> Path:
    path = folder / ".cellucid-dask" / "lease.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _take(target: Path | Target) -> str:
    """Try to take a lease; return what came of it."""
    target = target if isinstance(target, Target) else Target(str(target))
    began = time.monotonic()
    try:
        with acquire_lease(target, VALID_FOR) as lease:
            lease.check()
            waited = time.monotonic() - began
            return TAKEN if waited < VALID_FOR / 2 else f"{TAKEN} when it was no longer valid"
    except RequestError as error:
        return REFUSED if "is being written to by another run" in str(error) else f"plain: {error}"
    except ExportError as error:
        return f"plain: {error}"


def _left(**changes: Any) -> Circumstance:
    """What a dead run left: this process's record with some changes."""

    def circumstance(folder: Path) -> str:
        _record(folder).write_text(json.dumps({"token": "abc", **this_process(), **changes}))
        return _take(folder)

    return circumstance


def _damaged(content: bytes) -> Circumstance:
    def circumstance(folder: Path) -> str:
        _record(folder).write_bytes(content)
        return _take(folder)

    return circumstance


@contextmanager
def _holder(folder: Path, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """Hold the lease in a live process; it must still have it when the block ends."""
    command = [*prefix, sys.executable, "-c", _HOLD, str(folder), str(VALID_FOR)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate("", timeout=30)
        assert process.returncode == 0, "the live run was robbed"
    finally:
        process.kill()
        process.wait()


def _alive(folder: Path) -> str:
    with _holder(folder):
        return _take(folder)


def _paused(folder: Path) -> str:
    with _holder(folder) as process:
        process.send_signal(signal.SIGSTOP)
        result = _take(folder)
        process.send_signal(signal.SIGCONT)
    return result


def _in_other_container(folder: Path) -> str:
    """Of the same host name and number of process, in a pid namespace of its own."""
    with _holder(folder, "unshare", "--pid", "--fork", "--mount-proc"):
        return _take(folder)


def _on_other_host(folder: Path) -> str:
    with _holder(folder, "unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"):
        return _take(folder)


def _killed(*prefix: str) -> Circumstance:
    def circumstance(folder: Path) -> str:
        with suppress(AssertionError), _holder(folder, *prefix) as process:
            subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)
            process.kill()
        return _take(folder)

    return circumstance


def _clock(offset: Callable[[float], float]) -> Circumstance:
    """The taker's clock, or that of its files, is wrong; the holder is alive elsewhere."""
    clock = time.time

    def circumstance(folder: Path) -> str:
        with mock.patch.object(time, "time", side_effect=lambda: offset(clock())):
            return _on_other_host(folder)

    return circumstance


def _dead_of_tomorrow(folder: Path) -> str:
    path = _record(folder)
    path.write_text(json.dumps(_ELSEWHERE))
    tomorrow = time.time() + timedelta(days=1).total_seconds()
    os.utime(path, (tomorrow, tomorrow))
    return _take(folder)


def _link(folder: Path) -> str:
    other = folder / "other.json"
    other.write_text("somebody else's")
    _record(folder).symlink_to(other)
    result = _take(folder)
    assert other.read_text() == "somebody else's", "written through a link"
    return result


def _a_folder(folder: Path) -> str:
    _record(folder).mkdir()
    return _take(folder)


def _a_pipe(folder: Path) -> str:
    os.mkfifo(_record(folder))
    return _take(folder)


def _read_only(folder: Path) -> str:
    """A disk that cannot be written to, not even by root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], check=True)
    try:
        return _take(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def _not_ours(folder: Path) -> str:
    """Another user's folder and record."""
    _record(folder).write_text(json.dumps({"token": "abc", **this_process(), "started": 0}))
    results = multiprocessing.get_context("fork").SimpleQueue()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        results.put(_take(folder))
        os._exit(0)
    os.waitpid(child, 0)
    return str(results.get())


def _removed(folder: Path) -> str:
    """Somebody removes the record of a live run, and another takes the target."""
    with suppress(AssertionError), _holder(folder) as process:
        _record(folder).unlink()
        result = _take(folder)
        process.communicate("", timeout=30)
        assert process.returncode != 0, "a run that lost its lease has not noticed"
    return result


def _two_takers(folder: Path) -> str:
    """Two want the target of a dead run in the same instant: one of them gets it."""
    _record(folder).write_text(json.dumps(_ELSEWHERE))
    ready, lost, won = threading.Barrier(2), [], []

    def take() -> None:
        lease = Lease(Target(str(folder)), VALID_FOR)
        ready.wait()
        try:
            lease.take()
            time.sleep(VALID_FOR / 2)
            lease.check()
            won.append(lease)
        except (RequestError, ExportError) as error:
            lost.append(error)

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert len(won) == 1, f"{len(won)} have it"
    return "one of two gets it"


def _in_store(*, conditional: bool, alive: bool) -> Circumstance:
    """In S3, behind a proxy that hides conditions from a store that knows none."""

    def circumstance(folder: Path) -> str:
        with servers.moto() as store:
            hide = () if conditional else ("if-none-match", "if-match")
            with proxied(store.options["endpoint_url"], lambda *_: None, hide) as (address, _):
                url = f"{store.bucket()}/{folder.name}"
                target = Target(url, store.through(address))
                with mock.patch.object(socket, "gethostname", return_value="elsewhere"):
                    first = Lease(Target(url, store.options), VALID_FOR)
                first.take()
                renewal = threading.Thread(target=first.keep)
                if alive:
                    renewal.start()
                result = _take(target)
                first.end()
                if alive:
                    renewal.join()
                    first.check()
                return result

    return circumstance


LATER = f"{TAKEN} when it was no longer valid"
_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
CIRCUMSTANCES: dict[str, tuple[Circumstance, str]] = {
    "alive": (_alive, REFUSED),
    "alive and paused, of this system": (_paused, REFUSED),
    "dead, of this system": (_killed(), TAKEN),
    "dead, its number is another's": (_left(started=0), TAKEN),
    "alive on another host": (_on_other_host, REFUSED),
    "alive in another container": (_in_other_container, REFUSED),
    "dead in another container": (_killed(*_PID_NAMESPACE), LATER),
    "dead before the last boot": (_left(system="another boot"), LATER),
    "dead on another host": (_left(host="elsewhere"), LATER),
    "dead, its clock a day ahead": (_dead_of_tomorrow, LATER),
    "alive, the taker's clock 95 s ahead": (_clock(lambda now: now + 95), REFUSED),
    "alive, the taker's clock a day behind": (_clock(lambda now: now - 86_400), REFUSED),
    "alive, the taker's clock in steps of 1.5 s": (_clock(lambda now: now // 1.5 * 1.5), REFUSED),
    "record cut short": (_damaged(b'{"token": "ab'), LATER),
    "record empty": (_damaged(b""), LATER),
    "record of other bytes": (_damaged(b"\xff\x00" * 50), LATER),
    "record of another form": (_damaged(b'["token", {"pid": []}]'), LATER),
    "record with odd values": (_damaged(b'{"token": 7, "pid": null, "host": {}}'), LATER),
    "record is a link": (_link, LATER),
    "record is a folder": (_a_folder, "plain"),
    "record is a named pipe": (_a_pipe, "plain"),
    "read-only": (_read_only, "plain"),
    "another user's": (_not_ours, "plain"),
    "record removed under a live run": (_removed, TAKEN),
    "two takers": (_two_takers, "one of two gets it"),
    "S3, alive": (_in_store(conditional=True, alive=True), REFUSED),
    "S3, dead": (_in_store(conditional=True, alive=False), LATER),
    "S3 without conditions, alive": (_in_store(conditional=False, alive=True), REFUSED),
    "S3 without conditions, dead": (_in_store(conditional=False, alive=False), LATER),
}


def leases(
    n_cases: int, folder: Path, names: Sequence[str] = tuple(CIRCUMSTANCES)
) -> Iterator[Case]:
    """Try some of the circumstances, at most so many."""
    for number, name in enumerate(names[:n_cases]):
        circumstance, expected = CIRCUMSTANCES[name]
        place = folder / str(number)
        place.mkdir()
        try:
            outcome = circumstance(place)
            fault = "" if outcome.startswith(expected) else f"{outcome}, not {expected}"
        except Exception as error:  # noqa: BLE001
            outcome, fault = "raw error", f"{type(error).__name__}: {error}"
        yield Case(name, outcome.partition(": ")[0], fault)


if __name__ == "__main__":
    main(leases, len(CIRCUMSTANCES))
