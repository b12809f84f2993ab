"""Finding out before the work whether a target can be listed and written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cellucid_dask.errors import RequestError
from cellucid_dask.store.failures import Failure, explain, failure_of
from cellucid_dask.store.target import Target, write_local
from cellucid_dask.store.transfer import is_async, with_timeout

_PROBE = ".cellucid-dask-write-test"
_PATIENCE = 10.0  # seconds for the first answer of a store


def check_reachable(target: Target) -> None:
    """List the place, so that wrong credentials are told from an empty place.

    Raises
    ------
    RequestError
        It cannot be listed, or does not answer soon.
    """
    with _refusing(target, "listed"), suppress(FileNotFoundError, NotADirectoryError):
        _call_with_timeout(target, "ls", target.store[1])


def check_answers(target: Target, name: str) -> None:
    """Ask for one file, so that a store which does not answer is given up soon.

    Whatever else is wrong, reading will tell, and try again where that helps.

    Raises
    ------
    RequestError
        It does not answer.
    """
    if target.is_local:
        return
    with _refusing(target, "read"):
        try:
            _call_with_timeout(target, "info", target.path(name))
        except Exception as error:
            if isinstance(error, TimeoutError) or failure_of(error) is Failure.TRANSIENT:
                raise


def check_writable(target: Target) -> None:
    """Write and remove a small file, so that a wrong target fails now and not in an hour.

    Raises
    ------
    RequestError
        Saying what is wrong with the place or the credentials.
    """
    if target.is_local:
        _check_folder(target)
        return
    path = target.path(_PROBE)
    with _refusing(target, "written to"):
        _call_with_timeout(target, "pipe_file", path, b"test")
    with _refusing(target, "cleared of files, which an export needs to do,"):
        _call_with_timeout(target, "rm_file", path)


def _check_folder(target: Target) -> None:
    fresh = not Path(target.url).exists()
    try:
        with _refusing(target, "written to"):
            write_local(f"{target.url}/{_PROBE}", b"test")
    finally:
        with suppress(OSError):
            Path(target.url, _PROBE).unlink()
        if fresh:
            with suppress(OSError):
                Path(target.url).rmdir()


def _call_with_timeout(target: Target, method: str, *arguments: Any) -> None:
    """Call a method of the store, for a few seconds at most where it can be interrupted."""
    fs = target.store[0]
    if is_async(fs):
        with_timeout(fs, _PATIENCE, lambda: getattr(fs, f"_{method}")(*arguments))
    else:
        getattr(fs, method)(*arguments)


@contextmanager
def _refusing(target: Target, done: str) -> Iterator[None]:
    try:
        yield
    except RequestError:
        raise
    except NotADirectoryError as error:
        raise RequestError(f"{target.url} is a file, or lies under one: name a folder.") from error
    except Exception as error:  # stores raise errors of their own
        missing = failure_of(error) is Failure.MISSING
        if missing and done == "listed":  # nothing there yet, as it should be
            return
        if missing and target.is_local:
            raise RequestError(
                f"{target.url} cannot be made there: name another folder."
            ) from error
        raise RequestError(
            f"{target.url}: the bucket or container does not exist; create it first."
            if missing
            else f"{target.url} did not answer within {_PATIENCE:.0f} seconds: check the "
            "address, the network and the credentials."
            if isinstance(error, TimeoutError)
            else explain(error, target.url, done, target.storage_options)
        ) from error
