"""Questions to a Dask cluster: how long to wait for an answer, and what is said without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from queue import Empty
from time import monotonic
from typing import Any

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.patience import Look, Vigil, patience

# Threads that do the work of a worker, by how their names begin: its tasks', fsspec's, and
# those that move data. All others of Python's only keep the worker going.
_WORKING = ("Dask-Default-Threads", "Dask-Offload", "fsspecIO")


class ClusterWatch:
    """Sees which workers of a client's cluster do something, by asking the scheduler and them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen: dict[str, tuple[float, float]] = {}  # last sign of life, and when it was new
        self._paused = False

    def look(self) -> Look:
        """Look once.

        Raises
        ------
        ExportError
            The client was closed.
        """
        check_open(self._client)
        address, time = self._client.scheduler.address, patience()
        try:
            known = within(
                self._client, time.look_every, lambda: self._client.scheduler.identity(n_workers=-1)
            )
        except (OSError, RuntimeError):
            error = ExportError(
                f"The Dask scheduler at {address} has not answered for {time}: it is stopped, "
                "overloaded or cut off. Start it again, and run this again, an export with "
                "--resume."
            )
            return Look(f"the Dask scheduler at {address} to answer", error)
        workers: Mapping[str, Any] = known["workers"]
        silent = self._silent(workers)
        busy = [each for each in workers if _runs(workers[each]) and each not in silent]
        self._paused |= any(each["status"] == "paused" for each in workers.values())
        efforts: dict[str, tuple[float, ...]] = {}
        if busy:
            with suppress(OSError, RuntimeError):  # one of them has fallen silent since
                efforts = within(
                    self._client, time.look_every,
                    lambda: self._client.run(_effort, workers=busy, on_error="ignore"),
                )  # fmt: skip
        return Look(*self._diagnose(workers, silent, busy), efforts)

    def _silent(self, workers: Mapping[str, Any]) -> list[str]:
        """Return the workers without a new sign of life for several turns."""
        now = monotonic()
        for address, worker in workers.items():
            seen, _ = self._seen.get(address, (None, 0.0))
            if seen != worker["last_seen"]:
                self._seen[address] = worker["last_seen"], now
        limit = max(3 * patience().turn, patience().look_every)
        return [each for each in workers if now - self._seen[each][1] > limit]

    def _diagnose(
        self, workers: Mapping[str, Any], silent: list[str], busy: list[str]
    ) -> tuple[str, ExportError]:
        """Return what is waited for, and what to raise if that lasts too long."""
        time = patience()
        if silent:
            which = _one_of(silent)
            return f"Dask worker {which} to answer", ExportError(
                f"Dask worker {which} has not answered for {time}: it is stopped, cut off or out "
                "of memory. End it, and run this again, an export with --resume."
            )
        if busy:
            which = _one_of(busy)
            return f"a task on Dask worker {which} that does not move", ExportError(
                f"A task on Dask worker {which} has not moved for {time}: its disk or network may "
                "hang. End that worker, or allow more with --timeout, and run this again, an "
                "export with --resume."
            )
        if self._paused:
            return "Dask workers that have paused: their memory is full", ExportError(
                f"The Dask workers have paused for {time}, for their memory is full: give them "
                "more, and run this again, an export with --resume."
            )
        if not workers:
            return "a Dask worker", ExportError(
                f"The Dask cluster has had no worker for {time}: start some, and run this again, "
                "an export with --resume."
            )
        return "Dask workers, which are idle, to begin a task", ExportError(
            f"The Dask workers have begun no task for {time}: start them again, and run this "
            "again, an export with --resume."
        )


def ask(client: Any, question: Callable[[], Any]) -> Any:
    """Ask something of a client's cluster, and wait for the answer while anything moves.

    Parameters
    ----------
    client
        A synchronous client.
    question
        A call of the client or its scheduler; it is made in the client's event loop, where such
        calls return awaitables.

    Raises
    ------
    ExportError
        No answer comes, or the client was closed.
    """
    with explained(client), _asked(client, question) as answer:
        return Vigil(ClusterWatch(client)).wait(lambda seconds: _result(answer, seconds))


def within(client: Any, seconds: float, question: Callable[[], Any]) -> Any:
    """Ask as `ask` does, for some seconds; raise a TimeoutError if no answer comes."""
    with _asked(client, question) as answer:
        return answer.result(seconds)


@contextmanager
def _asked(client: Any, question: Callable[[], Any]) -> Iterator[Future[Any]]:
    async def call() -> Any:
        return await question()

    coroutine = call()
    try:
        answer = asyncio.run_coroutine_threadsafe(coroutine, client.loop.asyncio_loop)
    except RuntimeError:  # the loop has been closed
        coroutine.close()
        raise
    try:
        yield answer
    finally:
        answer.cancel()


def _result(answer: Future[Any], seconds: float) -> Any:
    if not wait_for([answer], seconds).done:
        raise Empty
    return answer.result()


@contextmanager
def explained(client: Any) -> Iterator[None]:
    """Say in plain words what Dask raises when a client or its scheduler goes away."""
    try:
        yield
    except (OSError, RuntimeError, AttributeError) as error:
        if isinstance(error, ExportError):
            raise
        raise gone(client) from error


def gone(client: Any) -> ExportError:
    """Return what to raise when the scheduler has lost the work, or the client was closed."""
    check_open(client)
    return ExportError(
        "The Dask scheduler has gone, or was started again without the work: see that it runs, "
        "and run this again, an export with --resume."
    )


def check_open(client: Any) -> None:
    """Make sure that a client was not closed.

    Raises
    ------
    ExportError
        It was.
    """
    if client.status in {"closing", "closed"}:
        raise ExportError(
            "The Dask client, or its cluster, was closed while it was needed: leave it open, and "
            "run this again, an export with --resume."
        )


def _runs(worker: Mapping[str, Any]) -> bool:
    return bool(worker["metrics"].get("task_counts", {}).get("executing"))


def _one_of(addresses: list[str]) -> str:
    return f"{addresses[0]} (and {len(addresses) - 1} more)" if addresses[1:] else addresses[0]


def _effort(dask_worker: Any) -> tuple[float, ...]:
    """Return what a worker has done: computed, moved to and from others, and to disk.

    A task may take longer than any bound, and is right to, as long as its threads get time of the
    processor. That they live, or that the worker still answers, says nothing: a thread that waits
    for a dead disk does both. Time is counted in tenths of a second, so that waking up to look for
    something again and again is no effort. What a thread computes without end cannot be told
    from work.
    """
    import psutil  # noqa: PLC0415

    idle = {each.native_id for each in threading.enumerate() if not each.name.startswith(_WORKING)}
    busy = [each for each in psutil.Process().threads() if each.id not in idle]
    spilled = getattr(dask_worker.data, "spilled_total", (0, 0))
    return (
        int(sum(each.user_time + each.system_time for each in busy) * 10),
        dask_worker.state.transfer_incoming_count_total,
        dask_worker.transfer_outgoing_count_total,
        float(sum(spilled)),
    )
