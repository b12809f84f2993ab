"""Faults of a Dask cluster while an export runs: how each ends, and that the export can go on.

``python -m tests.services.clusters.faults`` runs all of them, or those that are named, and prints a
table. Every export has a bound of some seconds; reads are held up until the fault is there. What
takes hosts of its own is skipped where network namespaces cannot be made (root, and iproute2).
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
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
# Exit codes.
DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
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
    right
        The code that is right.
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
        Whether it holds the right bytes, after going on by one thread if it was not whole.
    """

    code: int | None
    right: int
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
    def wrong(self) -> list[str]:
        """What is wrong with it, in a word each."""
        kinds = {
            "NO END": self.code is None,
            "OTHER CODE": self.code != self.right,
            "LATE": self.code != DONE and self.seconds > self.bound,
            "RAW": self.is_raw,
            "OTHER BYTES": not self.resumed,
        }
        return [kind for kind, is_so in kinds.items() if is_so]

    def row(self, name: str) -> str:
        """Return a row of the table."""
        end = f"{self.code} | {self.seconds:.1f} | {self.bound:g}"
        said = self.said if self.code else "(completed)"
        return f"| {name} | {end} | {said} | {', '.join(self.wrong) or 'no'} |"


class World:
    """A cluster, an export on it, and what holds it up."""

    def __init__(
        self, stack: ExitStack, folder: Path, source: Path, expected: Tree, bound: float
    ) -> None:
        self.bound = bound
        self.source, self.target = source, folder / "out"
        self._folder, self._expected = folder, expected
        self.control = folder / "control"
        self.control.mkdir()
        (folder / "scratch").mkdir()
        self.set("hold")
        self.processes: list[Any] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.export: Any = None
        self.address = ""
        self._faulty: float | None = None
        self.at_end = stack.callback

    def set(self, name: str, text: str = "") -> None:
        """Say what reads do that are held up."""
        (self.control / name).write_text(text)

    def unset(self, *names: str) -> None:
        """Say that reads do it no more."""
        for name in names:
            (self.control / name).unlink(missing_ok=True)

    def go(self) -> None:
        """Let reads go on."""
        self.unset("hold")

    def start(self, *command: str, prefix: tuple[str, ...] = (), **more: str) -> Any:
        """Start a Python process."""
        log = (self._folder / f"{time.monotonic_ns()}.log").open("w+b")
        self.at_end(log.close)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [*prefix, sys.executable, *command], stdout=log, stderr=log, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths),
                 "SLOW_READS": str(self.control), **more},
        )  # fmt: skip
        process.log = log  # type: ignore[attr-defined]
        self.at_end(_end, process)
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
        """Start a worker of one thread."""
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
        self.wait_for_workers()

    def wait_for_workers(self) -> None:
        """Wait until the scheduler has all workers."""
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
        _until(lambda: len(list(self.control.glob("read-*"))) >= number)

    def fault(self) -> None:
        """The fault is there now, unless it was before: measure from here."""
        self._faulty = self._faulty or time.monotonic()

    def outcome(self, right: int, bound: float) -> Outcome:
        """Wait for the end of the export, which may wait for `bound` seconds, and go on with it."""
        self.fault()
        bound += ENDING
        try:
            code: int | None = self.export.wait(bound + 45)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - (self._faulty or 0)
        told = _printed(self.export).decode()
        whole = (self.target / "dataset_identity.json").exists()
        for each in self.processes:
            _end(each)
        self.unset("hold", "hang", "compute")
        with dask.config.set(scheduler="synchronous"):
            if not whole:
                cellucid_dask.export(
                    self.source, self.target, resume=True, memory_budget=BUDGET, **SETTINGS
                )
        resumed = tree_bytes(self.target) == self._expected
        lines = [each for each in told.splitlines() if each.startswith(("error:", "stopped"))]
        return Outcome(code, right, seconds, bound, "".join(lines), told, whole, resumed)


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
Happens = Callable[["World"], None]


def fault(
    name: str,
    ends: int = FAILED,
    *,
    cluster: Happens = World.cluster,
    export: Callable[[World], Any] = World.command,
    before: bool = False,
    moves: int = 0,
) -> Callable[[Happens], Happens]:
    """Add a scene to the table: an export whose reads are held up until something happens.

    Parameters
    ----------
    name
        Of the fault.
    ends
        The exit code that is right; Ctrl-C follows the fault if it says so.
    cluster, export
        Start what the export runs on, and the export.
    before
        Whether it happens before the export begins.
    moves
        How often something may move again, which the export is right to wait for as long as before.
    """

    def add(happens: Happens) -> Happens:
        def scene(world: World) -> Outcome:
            cluster(world)
            if not before:
                world.export = export(world)
                world.reading()
            happens(world)
            if ends == INTERRUPTED:
                time.sleep(0.5)
                world.export.send_signal(signal.SIGINT)
                return world.outcome(ends, bound=0)
            world.fault()
            world.go()
            if before:
                world.export = export(world)
            return world.outcome(ends, bound=world.bound * (1 + moves))

        FAULTS[name] = scene
        return happens

    return add


def _nothing(_: World) -> None:
    pass


def _one(world: World) -> list[Any]:
    return world.workers[:1]


def _both(world: World) -> list[Any]:
    return world.workers


def _worker_of_nanny(world: World) -> list[Any]:
    return psutil.Process(world.workers[0].pid).children(recursive=True)


def _scheduler(world: World) -> list[Any]:
    return [world.scheduler]


def _own(world: World) -> list[Any]:
    """Return the processes that an export has started for its tasks."""
    children = psutil.Process(world.export.pid).children(recursive=True)
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def _send(number: signal.Signals, whom: Callable[[World], list[Any]]) -> Happens:
    def happens(world: World) -> None:
        for each in whom(world):
            each.send_signal(number)

    return happens


_freeze, _kill = partial(_send, signal.SIGSTOP), partial(_send, signal.SIGKILL)
_ask_to_end = partial(_send, signal.SIGTERM)
_with_nannies = partial(World.cluster, nanny=True)

fault("a worker is killed, one of two", DONE)(_kill(_one))
fault("both workers are killed")(_kill(_both))
fault("a worker is frozen, one of two")(_freeze(_one))
fault("both workers are frozen")(_freeze(_both))
fault("a worker is asked to end (SIGTERM)", DONE)(_ask_to_end(_one))
fault("both workers are asked to end")(_ask_to_end(_both))
fault("a nanny is killed", DONE, cluster=_with_nannies)(_kill(_one))
fault("a nanny is frozen, its worker is not", DONE, cluster=_with_nannies)(_freeze(_one))
fault("a worker with a nanny is killed", DONE, cluster=_with_nannies)(_kill(_worker_of_nanny))
fault("a worker is frozen before the export begins", before=True)(_freeze(_one))
fault("the scheduler is killed")(_kill(_scheduler))
fault("the scheduler is frozen")(_freeze(_scheduler))
fault("the scheduler is asked to end")(_ask_to_end(_scheduler))
fault("the scheduler is frozen before the export begins", REFUSED, before=True)(_freeze(_scheduler))
fault("Ctrl-C beside frozen workers", INTERRUPTED)(_freeze(_both))
fault("Ctrl-C beside a frozen scheduler", INTERRUPTED)(_freeze(_scheduler))


@fault("a frozen worker wakes up before the bound", DONE)
def _(world: World) -> None:
    _send(signal.SIGSTOP, _both)(world)
    world.fault()
    world.go()
    time.sleep(world.bound / 2)
    _send(signal.SIGCONT, _both)(world)


@fault("the scheduler is killed and started again")
def _(world: World) -> None:
    _send(signal.SIGKILL, _scheduler)(world)
    world.fault()
    world.start_scheduler()


def _told(code: str) -> Happens:
    """Let another client tell the cluster something."""

    def happens(world: World) -> None:
        client = f"from distributed import Client\nwith Client({world.address!r}) as client:"
        other = world.start("-c", "\n    ".join([client, *code.splitlines()]))
        _until(lambda: other.poll() == 0)

    return happens


FILL = """import time
def fill(dask_worker):
    dask_worker.memory_manager.memory_limit = 1_000_000
client.run(fill)
time.sleep(1)"""
_unspilled = partial(
    World.cluster,
    DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE="false",
    DASK_DISTRIBUTED__WORKER__MEMORY__SPILL="false",
)
fault("a worker is retired", DONE)(_told("client.retire_workers(list(client.nthreads())[:1])"))
# Dask keeps workers that nobody can take the results of.
fault("all workers are retired", DONE)(_told("client.retire_workers(list(client.nthreads()))"))
fault("another client restarts the cluster")(_told("client.restart(wait_for_workers=False)"))
fault("another client shuts the cluster down")(_told("client.shutdown()"))
fault("workers pause in the middle, their memory is full", cluster=_unspilled)(_told(FILL))


def _small(world: World, *, nanny: bool = False) -> None:
    """Start workers with less memory than they need."""
    for _ in range(2):
        world.start_worker("--memory-limit", "90MB", nanny=nanny)
    time.sleep(5)


_alone: Any = {"cluster": World.start_scheduler, "before": True}
fault("workers have paused, with a limit of 90 MB", **_alone)(_small)
fault("workers are started again and again, with a limit of 90 MB", moves=3, **_alone)(
    partial(_small, nanny=True)
)
fault("there never is a worker", **_alone)(_nothing)


def _waits_for_worker(world: World) -> Any:
    export = world.command()
    time.sleep(1)
    world.start_worker()
    return export


fault("the first worker comes late", DONE, export=_waits_for_worker, **_alone)(_nothing)


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


def _local(code: str) -> Any:
    """Return how to start an export whose process has its cluster, to which it does something."""
    return {"cluster": _nothing, "export": lambda world: world.script(LOCAL + code)}


@fault("the cluster is scaled to zero for good", **_local("later(lambda: cluster.scale(0))"))
def _(world: World) -> None:
    _until((world.control / "done").exists)


fault("the client is closed by someone else", **_local("later(client.close)"))(_nothing)
fault("the cluster is closed by someone else", **_local("later(cluster.close)"))(_nothing)


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
    space = f"cdw{secrets.token_hex(4)}"  # the devices of the scene before go late
    here, there = f"{space}a", f"{space}b"

    def cluster(world: World) -> None:
        _ip("netns", "add", space)
        world.at_end(_ip, "netns", "del", space)
        _ip("link", "add", here, "type", "veth", "peer", there, "netns", space)
        _ip("addr", "add", "10.214.0.1/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", space, "addr", "add", "10.214.0.2/24", "dev", there)
        _ip("-n", space, "link", "set", there, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        inside = ("ip", "netns", "exec", space)
        if scheduler:
            world.start_scheduler(host="10.214.0.2", prefix=inside)
        else:
            world.start_scheduler(host="10.214.0.1")
        for prefix in (inside, inside if scheduler else ()):
            world.start_worker(prefix=prefix)
        world.wait_for_workers()

    @fault(name, cluster=cluster)
    def _(_: World) -> None:
        _ip("link", "set", here, "down")


_cut("the network to one of two workers is cut", scheduler=False)
_cut("the network to the scheduler is cut", scheduler=True)


def _hangs(world: World) -> None:
    world.set("hang")
    world.go()


def _computes(world: World) -> None:
    """Let what is held up compute for longer than the bound, and what comes later not."""
    world.set("compute", str(world.bound + 3))
    world.go()
    time.sleep(1)
    world.unset("compute")


@fault("the export itself is suspended for longer than the bound", DONE)
def _(world: World) -> None:
    world.export.send_signal(signal.SIGSTOP)
    world.fault()
    time.sleep(world.bound * 1.5)
    world.export.send_signal(signal.SIGCONT)


PROCESSES = """
import dask
dask.config.set({
    "scheduler": "processes", "num_workers": 2, "chunksize": 1,
    "multiprocessing.initializer": tests.services.clusters.slow.prepare,
})
"""
_started: Any = {
    "cluster": _nothing,
    "export": lambda world: world.command(
        "--n-workers", "2", DASK_DISTRIBUTED__WORKER__PRELOAD="tests.services.clusters.slow"
    ),
}
_threads: Any = {
    "cluster": _nothing,
    "export": lambda world: world.command("--quiet", code=SLOW_CLI),
}
_processes: Any = {"cluster": _nothing, "export": lambda world: world.script(PROCESSES)}

fault("a task hangs")(_hangs)
fault("Ctrl-C beside a task that hangs", INTERRUPTED)(_hangs)
fault("a task computes for longer than the bound", DONE)(_computes)
fault("--n-workers 2: the processes are frozen", **_started)(_freeze(_own))
fault("--n-workers 2: Ctrl-C beside frozen processes", INTERRUPTED, **_started)(_freeze(_own))
fault("threads: a task hangs", **_threads)(_hangs)
fault("threads: Ctrl-C beside a task that hangs", INTERRUPTED, **_threads)(_hangs)
fault("threads: a task computes for longer than the bound", DONE, **_threads)(_computes)
fault("processes: they are killed", **_processes)(_kill(_own))
fault("processes: they are frozen", **_processes)(_freeze(_own))
fault("processes: Ctrl-C beside frozen ones", INTERRUPTED, **_processes)(_freeze(_own))


def _run(what: str, scene: Callable[[World], Outcome], stage: World) -> tuple[str, str]:
    """Return whether a scene ended right, wrong or was skipped, and its row of the table."""
    try:
        outcome = scene(stage)
    except CannotBeSetError as error:
        return "skipped", f"| {what} | | | | | skipped: {error} |"
    except TimeoutError as error:
        print(*(_printed(each).decode() for each in stage.processes), file=sys.stderr)
        return "wrong", f"| {what} | | | | | {error} |"
    if outcome.wrong:
        print(outcome.told, file=sys.stderr)
    return "wrong" if outcome.wrong else "right", outcome.row(what)


def main(chosen: list[str]) -> int:
    """Run faults whose names contain any of the words, and print the table."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    ends: Counter[str] = Counter()
    print("| fault | exit code | seconds | bound | said | wrong |\n|---|---:|---:|---:|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, expected = make(folder)
        for number, (what, scene) in enumerate(FAULTS.items()):
            if chosen and not any(word in what for word in chosen):
                continue
            own = folder / str(number)
            own.mkdir()
            with world(own, source, expected) as stage:
                end, row = _run(what, scene, stage)
            print(row, flush=True)
            ends[end] += 1
    print(f"\n{ends['right']} ended as they should, {ends['wrong']} not, {ends['skipped']} skipped")
    return int(ends["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
