"""Questions to a Dask cluster: how long to wait for an answer, and what is said without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from queue import Empty
from time import monotonic
from typing import Any

from cellucid_dask.errors import ExportError
from cellucid_dask.runtime.patience import Look, Vigil, effort_of_threads, patience

# How the names of a worker's threads begin that run tasks and move their data.
_WORKING = ("Dask-Default-Threads", "Dask-Offload")
# Dask's workers pause at this share of their memory limit.
_PAUSE = 0.8


class ClusterWatch:
    """Sees which workers of a client's cluster do something, by asking the scheduler and them."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen: dict[str, tuple[float, float]] = {}  # last sign of life, and when it was new
        self._full = False

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
        awake = [each for each in workers if each not in silent]
        busy = [each for each in awake if _runs(workers[each])]
        self._full = not busy and (self._full or any(map(_is_full, workers.values())))
        efforts: dict[str, tuple[float, ...]] = {}
        if awake:  # one that runs nothing may still fetch what a task needs
            with suppress(OSError, RuntimeError):  # one of them has fallen silent since
                efforts = within(
                    self._client, time.look_every,
                    lambda: self._client.run(_effort, workers=awake, on_error="ignore"),
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
        if self._full:
            return "Dask workers that do nothing, for their memory is full", ExportError(
                f"The Dask workers have done nothing for {time}, for their memory is full: give "
                "them more, and run this again, an export with --resume."
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
    import asyncio  # noqa: PLC0415  slow to import; there already where there is a client

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
    except Exception as error:
        if isinstance(error, ExportError):
            raise
        check_open(client)
        if not isinstance(error, OSError | RuntimeError | AttributeError):
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


def _is_full(worker: Mapping[str, Any]) -> bool:
    """Whether a worker has paused, or is about to be started again by its nanny."""
    limit = worker["memory_limit"] * _PAUSE
    return worker["status"] == "paused" or bool(0 < limit < worker["metrics"].get("memory", 0))


def _one_of(addresses: list[str]) -> str:
    return f"{addresses[0]} (and {len(addresses) - 1} more)" if addresses[1:] else addresses[0]


def _effort(dask_worker: Any) -> tuple[float, ...]:
    """Return what a worker has done: computed, moved to and from others, and to disk."""
    return (
        effort_of_threads(_WORKING),
        dask_worker.state.transfer_incoming_count_total,
        dask_worker.transfer_outgoing_count_total,
        float(sum(getattr(dask_worker.data, "spilled_total", (0, 0)))),
    )
