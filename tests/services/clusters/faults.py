"""Faults of a Dask cluster while an export runs: how each ends, and that the export can go on.

``python -m tests.services.clusters.faults`` runs all of them, or those that are named, and prints a
table. Every export has a bound of some seconds; reads are held up until the fault is there.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import numpy as np
import psutil
from scipy import sparse

import cellucid_dask
from tests.helpers import ROOT, SETTINGS, Tree, tree_bytes

BOUND = 10.0
# Seconds that the end itself may take: tasks have five to stop, and so has the client to close.
ENDING = 15.0
BUDGET = "6MiB"  # eleven blocks to read
# Words that only a library says.
RAW = re.compile(r"distributed\.|[A-Z]\w+(Error|Exception|Pool)\b|--debug shows")
CLI = "import sys; from cellucid_dask.cli.commands import main; sys.exit(main())"
SLOW_CLI = f"import tests.services.clusters.slow; {CLI}"


@dataclass(frozen=True)
class Outcome:
    """How an export ended.

    Attributes
    ----------
    code
        Of its process; ``None`` if that had to be killed.
    seconds
        From the fault to the end.
    bound
        Seconds after which it must have ended, if it did not complete.
    said
        The line that says how.
    told
        All that it printed.
    whole
        Whether the target holds an export already.
    resumed
        Whether going on with it by one thread gives the same bytes.
    """

    code: int | None
    seconds: float
    bound: float
    said: str
    told: str
    whole: bool
    resumed: bool

    @property
    def is_raw(self) -> bool:
        """Whether it ended in a library's words."""
        return "Traceback" in self.told or bool(
            RAW.search(self.said) or (self.code and not self.said)
        )

    @property
    def is_late(self) -> bool:
        """Whether it waited past its bound."""
        return self.code != 0 and self.seconds > self.bound

    def row(self, name: str) -> str:
        """Return a row of the table."""
        end = "no end" if self.code is None else f"exit code {self.code}"
        seconds = f"{self.seconds:.1f}{' LATE' if self.is_late else ''} | {self.bound:g}"
        said = self.said if self.code else "(completed)"
        same = "same bytes" if self.resumed else "OTHER BYTES"
        return f"| {name} | {end} | {seconds} | {said}{' RAW' if self.is_raw else ''} | {same} |"


class World:
    """A cluster, an export on it, and what holds it up."""

    def __init__(
        self, stack: ExitStack, folder: Path, source: Path, expected: Tree, bound: float
    ) -> None:
        self.bound = bound
        self.source, self.target = source, folder / "out"
        self._stack, self._folder, self._expected = stack, folder, expected
        self._control = folder / "control"
        self._control.mkdir()
        (folder / "scratch").mkdir()
        self.set("hold")
        self.processes: list[Any] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.faulty = 0.0

    def set(self, name: str, text: str = "") -> None:
        """Hold reads up."""
        (self._control / name).write_text(text)

    def go(self) -> None:
        """Let reads go on."""
        (self._control / "hold").unlink(missing_ok=True)

    def start(self, *command: str, prefix: tuple[str, ...] = (), **more: str) -> Any:
        """Start a Python process."""
        log = (self._folder / f"{time.monotonic_ns()}.log").open("w+b")
        self._stack.callback(log.close)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [*prefix, sys.executable, *command], stdout=log, stderr=log, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths),
                 "SLOW_READS": str(self._control), **more},
        )  # fmt: skip
        process.log = log  # type: ignore[attr-defined]
        self._stack.callback(_end, process)
        self.processes.append(process)
        return process

    def start_scheduler(self, *options: str, **how: Any) -> None:
        """Start a scheduler, again at the same port if there was one."""
        port = self.address.rpartition(":")[2] or str(_free_port())
        host = how.pop("host", "127.0.0.1")
        self.address = f"tcp://{host}:{port}"
        self.scheduler = self.start(
            "-m", "dask", "scheduler", "--host", host, "--port", port, "--no-dashboard", *options,
            **how,
        )  # fmt: skip
        _until(lambda: b"Scheduler at" in _printed(self.scheduler))

    def start_worker(self, *options: str, nanny: bool = False, **how: Any) -> Any:
        """Start a worker of one thread, and wait until the scheduler has it."""
        worker = self.start(
            "-m", "dask", "worker", self.address, "--nthreads", "1", "--no-dashboard",
            "--nanny" if nanny else "--no-nanny", "--preload", "tests.services.clusters.slow",
            "--local-directory", str(self._folder), *options, **how,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def cluster(self, n_workers: int = 2, **how: Any) -> None:
        """Start a scheduler and workers."""
        self.start_scheduler()
        for _ in range(n_workers):
            self.start_worker(**how)
        _until(lambda: all(b"Registered to" in _printed(each) for each in self.workers))

    def arguments(self) -> list[str]:
        """Return the arguments of an export by the command line."""
        told = ["--no-page", "--no-progress"]
        for name in ("created_at", "dataset_id", "dataset_name"):
            told += [f"--{name.replace('_', '-')}", str(SETTINGS[name])]
        return [
            "export", str(self.source), str(self.target), "--memory-budget", BUDGET, "--timeout",
            str(self.bound), "--scratch", str(self._folder / "scratch"), *told,
        ]  # fmt: skip

    def command(self, *options: str, code: str = CLI, **how: Any) -> Any:
        """Start an export by the command line; by default on the cluster."""
        return self.start(
            "-c", code, *self.arguments(), *(options or ("--scheduler", self.address)), **how
        )

    def script(self, before: str, **how: Any) -> Any:
        """Start an export by Python, with what comes before it."""
        options = {
            **SETTINGS, "memory_budget": BUDGET, "timeout": self.bound,
            "scratch": str(self._folder / "scratch"),
        }  # fmt: skip
        lines = "\n    ".join(before.strip().splitlines())
        text = SCRIPT.format(
            before=lines, source=str(self.source), target=str(self.target), options=options,
        )  # fmt: skip
        return self.start("-c", text, **how)

    def reading(self, number: int = 3) -> None:
        """Wait until some reads are held up."""
        _until(lambda: len(list(self._control.glob("read-*"))) >= number)

    def fault(self) -> None:
        """The fault is there now: measure from here."""
        self.faulty = time.monotonic()

    def outcome(self, process: Any, bound: float | None = None) -> Outcome:
        """Wait for the end of an export, which may wait as long as its bound, and go on with it."""
        bound = (self.bound if bound is None else bound) + ENDING
        try:
            code: int | None = process.wait(bound + 45)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - self.faulty
        told = _printed(process).decode()
        whole = (self.target / "dataset_identity.json").exists()
        for each in self.processes:
            _end(each)
        for name in ("hold", "hang", "compute"):
            (self._control / name).unlink(missing_ok=True)
        with dask.config.set(scheduler="synchronous"):
            if not whole:
                cellucid_dask.export(
                    self.source, self.target, resume=True, memory_budget=BUDGET, **SETTINGS
                )
        resumed = tree_bytes(self.target) == self._expected
        lines = [each for each in told.splitlines() if each.startswith(("error:", "stopped"))]
        return Outcome(code, seconds, bound, "".join(lines), told, whole, resumed)


SCRIPT = """
import os, signal, sys, threading, time
import tests.services.clusters.slow
import cellucid_dask
from cellucid_dask.errors import ExportError, RequestError
def main():
    {before}
    try:
        cellucid_dask.export({source!r}, {target!r}, **{options!r})
    except (ExportError, RequestError) as error:
        print("error:", error, flush=True)
        os._exit(1)
    except KeyboardInterrupt:
        print("stopped", flush=True)
        os._exit(130)
    os._exit(0)
if __name__ == "__main__":
    main()
"""


def _printed(process: Any) -> bytes:
    return Path(process.log.name).read_bytes()


def _end(process: Any) -> None:
    """End a process and those that it has started."""
    with suppress(psutil.Error):
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                each.kill()
    process.kill()
    process.wait()


def _until(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the scene could not be set")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def world(folder: Path, source: Path, expected: Tree, bound: float = BOUND) -> Iterator[World]:
    """Make a world in an empty folder; all its processes end with the block."""
    with ExitStack() as stack:
        yield World(stack, folder, source, expected, bound)


def make(folder: Path) -> tuple[Path, Tree]:
    """Write a source, and return it with its export by one thread."""
    random = np.random.default_rng(3)
    matrix = sparse.random(8_000, 200, 0.2, format="csr", dtype=np.float32, rng=random)
    adata = ad.AnnData(matrix, obsm={"X_umap": random.random((8_000, 2), np.float32)})
    path = folder / "cells.h5ad"
    adata.write_h5ad(path, compression="gzip")
    with dask.config.set(scheduler="synchronous"):
        cellucid_dask.export(path, folder / "expected", **SETTINGS)
    return path, tree_bytes(folder / "expected")


FAULTS: dict[str, Callable[[World], Outcome]] = {}


def fault(name: str) -> Callable[[Callable[[World], Outcome]], Callable[[World], Outcome]]:
    """Add a fault to the table."""

    def add(scene: Callable[[World], Outcome]) -> Callable[[World], Outcome]:
        FAULTS[name] = scene
        return scene

    return add


def _signals(name: str, number: signal.Signals, chosen: slice, **how: Any) -> None:
    """Add a fault that is a signal to some of two workers."""

    @fault(name)
    def scene(world: World) -> Outcome:
        world.cluster(**how)
        export = world.command()
        world.reading()
        for worker in world.workers[chosen]:
            worker.send_signal(number)
        world.fault()
        world.go()
        return world.outcome(export)


one, both = slice(1), slice(2)
_signals("a worker is killed, one of two", signal.SIGKILL, one)
_signals("both workers are killed", signal.SIGKILL, both)
_signals("a worker is frozen, one of two", signal.SIGSTOP, one)
_signals("both workers are frozen", signal.SIGSTOP, both)
_signals("a worker is asked to end (SIGTERM)", signal.SIGTERM, one)
_signals("both workers are asked to end", signal.SIGTERM, both)
_signals("a nanny is killed", signal.SIGKILL, one, nanny=True)
_signals("a nanny is frozen, its worker is not", signal.SIGSTOP, one, nanny=True)


@fault("a worker with a nanny is killed")
def _(world: World) -> Outcome:
    world.cluster(nanny=True)
    export = world.command()
    world.reading()
    nanny = psutil.Process(world.workers[0].pid)
    for child in nanny.children(recursive=True):
        child.kill()
    world.fault()
    world.go()
    return world.outcome(export)


@fault("a frozen worker wakes up before the bound")
def _(world: World) -> Outcome:
    world.cluster()
    export = world.command()
    world.reading()
    for worker in world.workers:
        worker.send_signal(signal.SIGSTOP)
    world.fault()
    world.go()
    time.sleep(world.bound / 2)
    for worker in world.workers:
        worker.send_signal(signal.SIGCONT)
    return world.outcome(export)


@fault("a worker is frozen before the export begins")
def _(world: World) -> Outcome:
    world.cluster()
    world.workers[0].send_signal(signal.SIGSTOP)
    world.fault()
    world.go()
    return world.outcome(world.command())


def _scheduler(name: str, number: signal.Signals) -> None:
    @fault(name)
    def scene(world: World) -> Outcome:
        world.cluster()
        export = world.command()
        world.reading()
        assert world.scheduler is not None
        world.scheduler.send_signal(number)
        world.fault()
        world.go()
        return world.outcome(export)


_scheduler("the scheduler is killed", signal.SIGKILL)
_scheduler("the scheduler is frozen", signal.SIGSTOP)
_scheduler("the scheduler is asked to end", signal.SIGTERM)


@fault("the scheduler is frozen before the export begins")
def _(world: World) -> Outcome:
    world.cluster()
    assert world.scheduler is not None
    world.scheduler.send_signal(signal.SIGSTOP)
    world.fault()
    return world.outcome(world.command())


@fault("the scheduler is killed and started again")
def _(world: World) -> Outcome:
    world.cluster()
    export = world.command()
    world.reading()
    assert world.scheduler is not None
    world.scheduler.kill()
    world.fault()
    world.start_scheduler()
    world.go()
    return world.outcome(export)


def _others(name: str, code: str) -> None:
    """Add a fault that another client of the cluster causes."""

    @fault(name)
    def scene(world: World) -> Outcome:
        world.cluster()
        export = world.command()
        world.reading()
        other = world.start(
            "-c", f"from distributed import Client\nclient = Client({world.address!r})\n{code}"
        )
        _until(lambda: other.poll() is not None)
        world.fault()
        world.go()
        return world.outcome(export)


_others("a worker is retired", "client.retire_workers(list(client.nthreads())[:1])")
_others("all workers are retired", "client.retire_workers(list(client.nthreads()))")
_others("another client restarts the cluster", "client.restart(wait_for_workers=False)")
_others("another client shuts the cluster down", "client.shutdown()")


@fault("workers have paused, with a limit of 90 MB")
def _(world: World) -> Outcome:
    world.start_scheduler()
    for _ in range(2):
        world.start_worker("--memory-limit", "90MB", nanny=True)
    time.sleep(5)
    world.go()
    world.fault()
    return world.outcome(world.command())


@fault("workers pause in the middle, their memory is full")
def _(world: World) -> Outcome:
    world.cluster(
        DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE="false",
        DASK_DISTRIBUTED__WORKER__MEMORY__SPILL="false",
    )
    export = world.command()
    world.reading()
    fill = (
        "def fill(dask_worker):\n"
        "    dask_worker.memory_manager.memory_limit = 1_000_000\n"
        "client.run(fill)"
    )
    other = world.start(
        "-c", f"from distributed import Client\nclient = Client({world.address!r})\n{fill}"
    )
    _until(lambda: other.poll() is not None)
    time.sleep(1)
    world.fault()
    world.go()
    return world.outcome(export)


@fault("there never is a worker")
def _(world: World) -> Outcome:
    world.start_scheduler()
    world.fault()
    world.go()
    return world.outcome(world.command())


@fault("the first worker comes late")
def _(world: World) -> Outcome:
    world.start_scheduler()
    world.go()
    export = world.command()
    time.sleep(1)
    world.start_worker()
    world.fault()
    return world.outcome(export)


LOCAL = """
from distributed import Client, LocalCluster
cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, dashboard_address=None,
    preload="tests.services.clusters.slow",
)
client = Client(cluster)
def later(call):
    def wait():
        control = os.environ["SLOW_READS"]
        while sum(each.startswith("read") for each in os.listdir(control)) < 4:
            time.sleep(0.05)
        call()
        open(os.path.join(control, "done"), "w").close()
    threading.Thread(target=wait, daemon=True).start()
"""


def _within(name: str, code: str) -> None:
    """Add a fault that the process of the export causes itself."""

    @fault(name)
    def scene(world: World) -> Outcome:
        export = world.script(LOCAL + code)
        world.reading()
        world.fault()
        if "cluster.scale" in code:
            _until((world.target.parent / "control" / "done").exists)
        world.go()
        return world.outcome(export)


_within("the cluster is scaled to zero for good", "later(lambda: cluster.scale(0))")
_within("the client is closed by someone else", "later(client.close)")
_within("the cluster is closed by someone else", "later(cluster.close)")


class CannotBeSetError(Exception):
    """A scene that this machine does not allow."""


def _ip(*words: str) -> None:
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise CannotBeSetError(f"no hosts of one's own here: {str(why).strip()}") from error


def _cut(name: str, *, scheduler: bool) -> None:
    """Add a fault of the network between this host and another, a network namespace."""

    @fault(name)
    def scene(world: World) -> Outcome:
        with ExitStack() as stack:
            tag = f"cdw{secrets.token_hex(4)}"  # the devices of the scene before go late
            space, here, there = tag, f"{tag}a", f"{tag}b"
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "del", space)
            _ip("link", "add", here, "type", "veth", "peer", there, "netns", space)
            _ip("addr", "add", "10.214.0.1/24", "dev", here)
            _ip("link", "set", here, "up")
            for words in (
                ("addr", "add", "10.214.0.2/24", "dev", there),
                ("link", "set", there, "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", space, *words)
            inside = ("ip", "netns", "exec", space)
            if scheduler:
                world.start_scheduler(host="10.214.0.2", prefix=inside)
            else:
                world.start_scheduler(host="10.214.0.1")
            for prefix in (inside, inside if scheduler else ()):
                world.start_worker(prefix=prefix)
            _until(lambda: all(b"Registered to" in _printed(each) for each in world.workers))
            export = world.command()
            world.reading()
            _ip("link", "set", here, "down")
            world.fault()
            world.go()
            return world.outcome(export)


_cut("the network to one of two workers is cut", scheduler=False)
_cut("the network to the scheduler is cut", scheduler=True)


def _interrupt(world: World, export: Any) -> Outcome:
    time.sleep(0.5)
    export.send_signal(signal.SIGINT)
    world.fault()
    return world.outcome(export, bound=0)


@fault("Ctrl-C beside frozen workers")
def _(world: World) -> Outcome:
    world.cluster()
    export = world.command()
    world.reading()
    for worker in world.workers:
        worker.send_signal(signal.SIGSTOP)
    return _interrupt(world, export)


@fault("Ctrl-C beside a frozen scheduler")
def _(world: World) -> Outcome:
    world.cluster()
    export = world.command()
    world.reading()
    assert world.scheduler is not None
    world.scheduler.send_signal(signal.SIGSTOP)
    return _interrupt(world, export)


@fault("Ctrl-C beside a task that hangs")
def _(world: World) -> Outcome:
    world.cluster()
    world.set("hang")
    world.go()
    export = world.command()
    world.reading()
    return _interrupt(world, export)


def _processes(world: World) -> tuple[Any, list[psutil.Process]]:
    preload = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "tests.services.clusters.slow"}
    export = world.command("--n-workers", "2", **preload)
    world.reading()
    children = psutil.Process(export.pid).children(recursive=True)
    return export, [each for each in children if "spawn_main" in " ".join(each.cmdline())]


@fault("--n-workers 2: the processes are frozen")
def _(world: World) -> Outcome:
    export, processes = _processes(world)
    for each in processes:
        each.suspend()
    world.fault()
    world.go()
    return world.outcome(export)


@fault("--n-workers 2: Ctrl-C beside frozen processes")
def _(world: World) -> Outcome:
    export, processes = _processes(world)
    for each in processes:
        each.suspend()
    return _interrupt(world, export)


@fault("a task hangs")
def _(world: World) -> Outcome:
    world.cluster()
    world.set("hang")
    world.go()
    export = world.command()
    world.reading()
    world.fault()
    return world.outcome(export)


@fault("a task computes for longer than the bound")
def _(world: World) -> Outcome:
    world.cluster(1)
    world.set("compute", str(world.bound + 3))
    export = world.command()
    world.reading(3)
    (world.target.parent / "control" / "hold").unlink()
    time.sleep(1)
    (world.target.parent / "control" / "compute").unlink()
    world.fault()
    return world.outcome(export)


@fault("the export itself is suspended for longer than the bound")
def _(world: World) -> Outcome:
    world.cluster()
    export = world.command()
    world.reading()
    export.send_signal(signal.SIGSTOP)
    world.fault()
    time.sleep(world.bound * 1.5)
    export.send_signal(signal.SIGCONT)
    world.go()
    return world.outcome(export)


@fault("threads: a task hangs")
def _(world: World) -> Outcome:
    world.set("hang")
    world.go()
    export = world.command("--quiet", code=SLOW_CLI)
    world.reading()
    world.fault()
    return world.outcome(export)


@fault("threads: Ctrl-C beside a task that hangs")
def _(world: World) -> Outcome:
    world.set("hang")
    world.go()
    export = world.command("--quiet", code=SLOW_CLI)
    world.reading()
    return _interrupt(world, export)


@fault("threads: a task computes for longer than the bound")
def _(world: World) -> Outcome:
    world.set("compute", str(world.bound + 3))
    export = world.command("--quiet", code=SLOW_CLI)
    world.reading()
    world.go()
    time.sleep(1)
    (world.target.parent / "control" / "compute").unlink()
    world.fault()
    return world.outcome(export)


PROCESSES = """
import dask
dask.config.set({
    "scheduler": "processes", "num_workers": 2, "chunksize": 1,
    "multiprocessing.initializer": tests.services.clusters.slow.prepare,
})
"""


def _of_dask(name: str, number: signal.Signals, *, interrupted: bool = False) -> None:
    """Add a fault that is a signal to the processes of Dask's own scheduler."""

    @fault(name)
    def scene(world: World) -> Outcome:
        export = world.script(PROCESSES)
        world.reading()
        children = psutil.Process(export.pid).children(recursive=True)
        for each in children:
            if "spawn_main" in " ".join(each.cmdline()):
                each.send_signal(number)
        if interrupted:
            return _interrupt(world, export)
        world.fault()
        world.go()
        return world.outcome(export)


_of_dask("processes: they are killed", signal.SIGKILL)
_of_dask("processes: they are frozen", signal.SIGSTOP)
_of_dask("processes: Ctrl-C beside frozen ones", signal.SIGSTOP, interrupted=True)


def main(chosen: list[str]) -> int:
    """Run faults whose names contain any of the words, and print the table."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    bad = 0
    print("| fault | ended | seconds | bound | said | resumed |\n|---|---|---:|---:|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, expected = make(folder)
        for number, (what, scene) in enumerate(FAULTS.items()):
            if chosen and not any(word in what for word in chosen):
                continue
            own = folder / str(number)
            own.mkdir()
            with world(own, source, expected) as stage:
                try:
                    outcome = scene(stage)
                except CannotBeSetError as error:
                    print(f"| {what} | skipped: {error} | | | | |", flush=True)
                    continue
                except TimeoutError as error:
                    print(f"| {what} | {error} | | | | |", flush=True)
                    print(*(_printed(each).decode() for each in stage.processes), file=sys.stderr)
                    bad += 1
                    continue
            print(outcome.row(what), flush=True)
            if outcome.is_raw or outcome.is_late or not outcome.resumed:
                bad += 1
                print(outcome.told, file=sys.stderr)
    print(f"\n{bad} past the bound, in a library's words, or with other bytes")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
