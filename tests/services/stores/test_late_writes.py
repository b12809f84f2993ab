"""What a run writes that was paused when it had asked whether the target still is its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from cellucid_dask.errors import ExportError
from cellucid_dask.store.client import Asked
from cellucid_dask.store.lease import LEASE, acquire_lease
from cellucid_dask.store.target import Target
from cellucid_dask.store.uploads import Uploads
from tests.helpers import ROOT
from tests.services.stores.proxy import proxied
from tests.services.stores.servers import Store

pytestmark = pytest.mark.xdist_group("stores")


@pytest.fixture(params=["moto", "s3fs", pytest.param("ceph", marks=pytest.mark.slow)])
def conditional(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


class _Question:
    """Asks whether the target still is the run's; something happens right after an answer."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self._then: Iterator[Callable[[], object]] = iter(then)
        self.count = 0

    def ask(self) -> None:
        self.count += 1
        next(self._then, lambda: None)()


def lost() -> None:
    raise ExportError("Another run has taken over")


def upload(target: Target, question: _Question, data: bytes = b"ours") -> None:
    with Uploads(target.client, Asked(lambda: False, question.ask)) as uploads:
        uploads.put(target.path("x.gz"), data, "application/gzip")


@pytest.mark.parametrize("theirs", [b"theirs", b"another's", None], ids=["one", "other", "removed"])
def test_what_changed_since_it_asked_is_not_replaced(
    conditional: Store, theirs: bytes | None
) -> None:
    target = Target.of(f"{conditional.bucket()}/a", conditional.options)
    target.put({"x.gz": b"old"})

    def change() -> None:
        target.put({"x.gz": theirs}) if theirs is not None else target.remove(["x.gz"])

    question = _Question(change, lost)
    if theirs is None:  # nothing is there to be replaced
        upload(target, question)
        assert target.read("x.gz") == b"ours"
        return
    with pytest.raises(ExportError, match="Another run has taken"):
        upload(target, question)
    assert target.read("x.gz") == theirs
    assert question.count >= 2


def test_what_it_wrote_itself_meanwhile_is_replaced(conditional: Store) -> None:
    """As where a task runs twice, or an answer was lost."""
    target = Target.of(f"{conditional.bucket()}/a", conditional.options)
    target.put({"x.gz": b"old"})
    question = _Question(lambda: target.put({"x.gz": b"half"}))
    upload(target, question)
    assert (target.read("x.gz"), question.count) == (b"ours", 2)


@pytest.mark.parametrize("first", [1, 2], ids=["creating", "replacing"])
@pytest.mark.parametrize("name", ["moto", "s3fs"])
def test_a_store_without_conditions(request: pytest.FixtureRequest, name: str, first: int) -> None:
    """The run is asked right before; no more can be done."""
    store: Store = request.getfixturevalue(name)
    target = Target.of(f"{store.bucket()}/a", store.options)
    target.put({"x.gz": b"old"})
    puts = iter(range(1, 100))

    def fault(_number: int, method: str) -> str | None:
        return "501" if method == "PUT" and next(puts) == first else None

    with proxied(store.address, fault) as (address, proxy):
        question = _Question(*[lambda: None] * (first - 1), lost)
        with pytest.raises(ExportError, match="Another run has taken"):
            upload(Target.of(target.url, store.through(address)), question)
        assert (target.read("x.gz"), proxy.faults) == (b"old", ["501"])
        puts = iter(range(1, 100))
        upload(Target.of(target.url, store.through(address)), _Question())
        assert (target.read("x.gz"), proxy.faults) == (b"ours", ["501"] * 2)


_PAUSED = """
import json, os, signal, sys
from cellucid_dask.errors import ExportError
from cellucid_dask.store.lease import acquire_lease
from cellucid_dask.store.target import Target
from cellucid_dask.store.client import Asked
from cellucid_dask.store.uploads import Uploads

target, pauses = Target(sys.argv[1], json.loads(sys.argv[2])), [signal.SIGSTOP]
try:
    with acquire_lease(target, 1.0):
        asked = target.asked

        def ask():
            asked.ask()
            while pauses:
                os.kill(os.getpid(), pauses.pop())

        with Uploads(target.client, Asked(asked.is_due, ask)) as uploads:
            uploads.put(target.path("x.gz"), b"ours", "application/gzip")
except ExportError as error:
    print(error)
"""


def test_a_run_that_is_stopped_between_the_question_and_the_write(conditional: Store) -> None:
    target = Target.of(f"{conditional.bucket()}/a", conditional.options)
    target.put({"x.gz": b"old"})
    process = subprocess.Popen(
        [sys.executable, "-c", _PAUSED, target.url, json.dumps(conditional.options)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        with (
            mock.patch.object(socket, "gethostname", return_value="elsewhere"),
            acquire_lease(target, 1.0),
        ):
            target.put({"x.gz": b"theirs"})
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "Another run has taken over" in said
    assert (target.read("x.gz"), target.tree()) == (b"theirs", {"x.gz": 6})


def test_a_stream_whose_run_lost_the_target_replaces_nothing(conditional: Store) -> None:
    target = Target.of(f"{conditional.bucket()}/a", conditional.options)

    def write() -> None:
        with target.stream("x.gz") as out:
            out.write(bytes(12 * 2**20))  # more than is sent at once
            theirs = Target(target.url, target.storage_options)
            theirs.put({"x.gz": b"theirs", LEASE: b'{"token": "theirs"}'})
            out.write(b"ours")

    with pytest.raises(ExportError, match="Another run has taken"), acquire_lease(target):
        write()
    assert target.read("x.gz") == b"theirs"


class _Lost:
    """A fence of a target that is lost as soon as `uploads` are under way."""

    folder = ""

    def __init__(self) -> None:
        self.uploads = threading.Event()

    def is_due(self) -> bool:
        return self.uploads.is_set()

    def check(self, target: Target, *, now: bool = False) -> None:
        if now or self.is_due():
            raise ExportError(f"Another run has taken over {target}")


@pytest.mark.parametrize("name", ["var/x.gz", ".cellucid-dask/receipts/1.json"])
def test_nothing_arrives_after_a_run_has_found_out(moto: Store, name: str) -> None:
    """So that what it created late for itself can be removed."""
    fence, target = _Lost(), Target.of(f"{moto.bucket()}/a", moto.options)

    def fault(_number: int, _method: str) -> str:
        fence.uploads.set()
        return "slow"

    with proxied(moto.address, fault) as (address, proxy):
        paused = Target.of(target.url, moto.through(address))
        paused.fence = fence
        with pytest.raises(ExportError, match="Another run has taken"):
            paused.put({name: b"1"})
        assert target.tree() == ({name: 1} if name.startswith("var/") else {})
        assert proxy.count == (1 if name.startswith("var/") else 2)
