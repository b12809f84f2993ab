"""One run a target: what a lease believes, and what a fence forbids."""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store import durable, local_writer, owner
from cellucid_dask.store import lease as leases
from cellucid_dask.store.lease import Fence, Lease, acquire_lease
from cellucid_dask.store.target import Target

ELSEWHERE = {"token": "t", "host": "elsewhere", "system": "b", "pid": 1, "started": 1.0}


def record_of(folder: Path) -> Path:
    path = folder / ".cellucid-dask" / "lease.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_lease_is_renewed_until_it_is_lost(tmp_path: Path) -> None:
    path = record_of(tmp_path)
    lease = Lease(Target(str(tmp_path)), valid_for=0.09)
    lease.take()
    first = json.loads(path.read_text())
    renewed = tmp_path / ".cellucid-dask" / f"run-{first['token']}" / "renewed"
    renewal = threading.Thread(target=lease.keep)
    renewal.start()
    deadline = time.monotonic() + 20
    while not renewed.exists() or renewed.read_text() < "2":
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


def test_one_at_a_time(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "out"))
    with acquire_lease(target):
        with pytest.raises(RequestError, match="by another run"), acquire_lease(target):
            pass
        assert target.names(".cellucid-dask") == {".cellucid-dask/lease.json"}
    assert not list(tmp_path.iterdir())


class _Clock:
    """A clock that only waiting moves; at some times something happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.then: dict[float, Callable[[], object]] = {}
        monkeypatch.setattr(leases, "elapsed", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for due in [each for each in self.then if each <= self.now]:
            self.then.pop(due)()


@pytest.mark.parametrize("content", [json.dumps(ELSEWHERE), '{"tok', "[1]", "", '"text"'])
def test_a_record_that_does_not_change_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """However its owner's clock goes: nothing in the record is a time."""
    clock = _Clock(monkeypatch)
    record_of(tmp_path).write_text(content)
    lease = Lease(Target(str(tmp_path)))
    lease.take(clock.wait)
    assert clock.now >= 1_090
    lease.check()


@pytest.mark.parametrize("after", [1.0, 45.0, 88.0])
def test_a_record_that_changes_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    clock = _Clock(monkeypatch)
    path = record_of(tmp_path)
    path.write_text(json.dumps(ELSEWHERE))
    renewed = tmp_path / ".cellucid-dask/run-t/renewed"
    renewed.parent.mkdir()
    clock.then[1_000 + after] = lambda: renewed.write_text("1")
    with pytest.raises(RequestError, match="process 1 on elsewhere"):
        Lease(Target(str(tmp_path))).take(clock.wait)
    assert json.loads(path.read_text()) == ELSEWHERE


def test_a_record_that_goes_while_it_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(monkeypatch)
    path = record_of(tmp_path)
    path.write_text(json.dumps(ELSEWHERE))
    clock.then[1_020] = path.unlink
    Lease(Target(str(tmp_path))).take(clock.wait)
    assert clock.now < 1_090


def test_a_dead_process_of_this_system_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(monkeypatch)
    dead = {**owner.this_process(), "pid": 2**22 - 1, "token": "t"}
    record_of(tmp_path).write_text(json.dumps(dead))
    Lease(Target(str(tmp_path))).take(clock.wait)
    assert clock.now == 1_000


@pytest.mark.parametrize(
    "other",
    [{"host": "elsewhere"}, {"system": "another boot"}, {"system": None}],
    ids=["host", "boot or container", "older record"],
)
def test_who_ran_elsewhere_is_not_known_to_be_dead(other: dict[str, Any]) -> None:
    assert owner.is_running({**owner.this_process(), "pid": 2**22 - 1, **other}) is None


def test_a_process_is_known_by_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which no step of the clock changes, nor a later process with its number."""
    me = owner.this_process()
    assert owner.is_running(me) is True
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert owner.is_running(me) is True
    assert owner.is_running({**me, "started": me["started"] + 1}) is False
    assert me["pid"] == os.getpid()
    assert me["host"] == socket.gethostname()


def test_a_run_that_was_paused_writes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor has finished: not one file of it is replaced."""
    clock = _Clock(monkeypatch)
    target = Target(str(tmp_path))
    with acquire_lease(target):
        target.put({"var/a": b"ours"})
        clock.now += 100
        (tmp_path / "var/a").write_bytes(b"theirs")
        record_of(tmp_path).write_text(json.dumps(ELSEWHERE))
        writes: list[Callable[[], object]] = [
            lambda: target.put({"var/a": b"ours"}),
            lambda: target.publish("identity.json", b"ours"),
            lambda: target.remove(["var/a"]),
            lambda: target.stream("var/a").__enter__(),
        ]
        for write in writes:
            with pytest.raises(ExportError, match="Another run has taken"):
                write()
    assert (tmp_path / "var/a").read_bytes() == b"theirs"


def test_workers_ask_before_their_first_file(tmp_path: Path) -> None:
    target = Target(str(tmp_path))
    with acquire_lease(target):
        worker = pickle.loads(pickle.dumps(target))  # noqa: S301  our own
        worker.put({"var/a": b"ours"})
        record_of(tmp_path).write_text(json.dumps(ELSEWHERE))
        late = pickle.loads(pickle.dumps(target))  # noqa: S301  our own
        with pytest.raises(ExportError, match="Another run has taken"):
            late.put({"var/b": b"ours"})
    assert not (tmp_path / "var/b").exists()


def test_a_fence_asks_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    asked = []
    target = Target(str(tmp_path))
    monkeypatch.setattr(leases, "_read", lambda _: asked.append(clock.now) or {"token": "me"})
    fence = Fence("me")
    for _ in range(60):
        fence.check(target)
        clock.now += 1
    assert 4 <= len(asked) <= 6


@pytest.fixture
def robbed(tmp_path: Path) -> Callable[[], None]:
    """Return what takes a target over from a run, and writes a file there."""

    def rob() -> None:
        record_of(tmp_path).write_text(json.dumps({**owner.this_process(), "started": 0}))
        with acquire_lease(Target(str(tmp_path))) as _:
            Target(str(tmp_path)).put({"var/a": b"theirs"})

    return rob


def test_a_file_that_was_being_written_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robbed: Callable[[], None]
) -> None:
    """The run was paused when it had asked, and had written all of the file but its name."""
    flush = durable.flush_file

    def pause(path: str) -> None:
        flush(path)
        robbed()

    target = Target(str(tmp_path))
    with acquire_lease(target):
        monkeypatch.setattr(local_writer, "flush_file", pause)
        with pytest.raises(ExportError, match="Another run has taken"):
            target.publish("var/a", b"ours")
    assert {each.name for each in tmp_path.rglob("*")} == {"var", "a"}
    assert (tmp_path / "var/a").read_bytes() == b"theirs"


def test_a_stream_that_was_being_written_does_not_appear(
    tmp_path: Path, robbed: Callable[[], None]
) -> None:
    target = Target(str(tmp_path))

    def write() -> None:
        with target.stream("var/a") as out:
            out.write(b"ours")
            robbed()
            out.write(b"ours")

    with acquire_lease(target), pytest.raises(ExportError, match="Another run has taken"):
        write()
    assert (tmp_path / "var/a").read_bytes() == b"theirs"


def test_files_that_were_being_removed_stay(tmp_path: Path, robbed: Callable[[], None]) -> None:
    target = Target(str(tmp_path))

    def names() -> Iterator[str]:
        yield "var/b"
        robbed()
        yield "var/a"

    with acquire_lease(target):
        target.put({"var/a": b"ours", "var/b": b"ours"})
        with pytest.raises(FileNotFoundError):
            target.local_writer.remove(names())
    assert {each.name for each in tmp_path.rglob("*")} == {"var", "a"}
    assert (tmp_path / "var/a").read_bytes() == b"theirs"


def test_a_lease_that_was_being_renewed_stays_the_successor_s(tmp_path: Path) -> None:
    target = Target(str(tmp_path))
    with acquire_lease(target):
        late = target.local_writer
        record_of(tmp_path).write_text(json.dumps({**owner.this_process(), "started": 0}))
        with acquire_lease(Target(str(tmp_path))) as successor:
            with pytest.raises(FileNotFoundError):
                late.write(".cellucid-dask/lease.json", b"ours")
            successor.check()


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".cellucid-dask/run-dead/.12.part"
    kept = tmp_path / ".cellucid-dask/receipts/1.json"
    for path in (left, kept):
        path.parent.mkdir(parents=True)
        path.touch()
    with acquire_lease(Target(str(tmp_path))):
        assert not left.parent.exists()
    assert kept.exists()


@pytest.mark.parametrize("name", ["receipts/1.json", "run.json", "notes/0-9.fragment"])
def test_a_note_that_a_paused_run_creates_late_in_a_store_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It was paused when it had asked; its successor has ended, or is at work."""
    clock = _Clock(monkeypatch)
    target = Target(f"memory://{tmp_path.name}")
    create, theirs = target.client.create, Target(target.url)

    async def pause(path: str, data: bytes, content_type: str) -> None:
        clock.now += 100
        theirs.remove([leases.LEASE])
        theirs.put({"var/a": b"theirs"})
        await create(path, data, content_type)

    with acquire_lease(target):
        target.put({"var/a": b"ours"})
        monkeypatch.setattr(target.client, "create", pause)
        with pytest.raises(ExportError, match="Another run has taken"):
            target.put({f".cellucid-dask/{name}": b"ours"})
        monkeypatch.undo()
    assert target.tree() == {"var/a": 6}


def test_a_renewal_that_comes_late_in_a_store_is_removed(tmp_path: Path) -> None:
    target = Target(f"memory://{tmp_path.name}")
    with acquire_lease(target) as lease:
        Target(target.url).put(
            {f"{lease.fence.folder}/renewed": b"1", ".cellucid-dask/lease.json": b"theirs"}
        )
    assert target.names(".cellucid-dask") == {".cellucid-dask/lease.json"}
    assert target.folders(".cellucid-dask") == set()
    target.put({"var/a": b"1"})  # by whoever has the target
