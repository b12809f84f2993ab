"""Checks before the work that a location answers, can be listed and can be written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cellucid_dask.errors import RequestError
from cellucid_dask.store.failures import Failure, failure_of, is_missing_bucket
from cellucid_dask.store.local import check_folder, file_names, write_local
from cellucid_dask.store.location import Location
from cellucid_dask.store.transfer import call, content_type

_PROBE = ".cellucid-dask-write-test"
_SECONDS = 10.0  # for the first answer of a store


def check_reachable(location: Location, seconds: float = _SECONDS) -> None:
    """List a folder, so that wrong credentials are told from an empty folder.

    Raises
    ------
    RequestError
        It cannot be listed, does not answer in time, or is no place for files.
    """
    if location.is_local:
        check_folder(location.url)
        with _refusing(location, "listed"):
            file_names(location.url)
        return
    client = location.client
    with _refusing(location, "listed", seconds):
        call(client, lambda: client.entries(location.path()), seconds)


def check_answers(location: Location, name: str = "", seconds: float = _SECONDS) -> None:
    """Ask for a file, so that a store which does not answer is given up soon.

    Any other failure is left to the reading that follows, which retries where that helps.

    Raises
    ------
    RequestError
        It does not answer, or cannot be opened at all.
    """
    if location.is_local:
        return
    client, path = location.client, location.path(name)
    with _refusing(location, "read", seconds):
        try:
            call(client, lambda: client.info(path), seconds)
        except Exception as error:
            if failure_of(error) is Failure.TRANSIENT:
                raise


def check_ranges(location: Location) -> None:
    """Make sure that parts of a file can be read: some web servers only send the whole.

    Raises
    ------
    RequestError
        They cannot.
    """
    if not location.is_web:
        return
    with location.client.open_reader(location.path(), 1) as file:
        try:
            file.seek(1)
            file.read(1)
        except ValueError as error:
            raise RequestError(
                f"{location} can only be read whole, its server does not support byte ranges: "
                "download it first."
            ) from error


def check_apart(target: Location, source: Location | None) -> None:
    """Refuse a target that is the source, lies in it or holds it.

    Files of an older export are removed by their names, and whatever else lies in an export is
    published with it.

    Raises
    ------
    RequestError
        Saying which.
    """
    if source is None:
        return
    if source.holds(target):
        raise RequestError(
            f"{target} is the source, or lies in it: name a folder of its own for the export."
        )
    if target.holds(source):
        raise RequestError(
            f"{target} holds the source {source}: name a folder of its own for the export, such "
            f"as {target}/export."
        )


def check_writable(location: Location, seconds: float = _SECONDS) -> None:
    """Write and remove a small file, so that a wrong target fails now and not in an hour.

    Raises
    ------
    RequestError
        Saying what is wrong with the location or the credentials.
    """
    if location.is_local:
        _check_folder(location)
        return
    client, path = location.client, location.path(_PROBE)
    with _refusing(location, "written to", seconds):
        call(client, lambda: client.put(path, b"test", content_type(_PROBE)), seconds)
    with _refusing(location, "cleared of files, which an export needs to do,", seconds):
        call(client, lambda: client.delete([path]), seconds)


def _check_folder(location: Location) -> None:
    folder, probe = Path(location.url), Path(location.path(_PROBE))
    is_new = not folder.exists()
    try:
        with _refusing(location, "written to"):
            folder.mkdir(parents=True, exist_ok=True)
            write_local(str(probe), b"test")
    finally:
        with suppress(OSError):
            probe.unlink()
        if is_new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _refusing(location: Location, done: str, seconds: float = _SECONDS) -> Iterator[None]:
    try:
        yield
    except RequestError:
        raise
    except Exception as error:  # stores raise errors of their own
        missing = failure_of(error) is Failure.MISSING
        if missing and done == "listed" and not is_missing_bucket(error):
            return  # nothing there yet, as it should be
        if isinstance(error, NotADirectoryError):
            raise RequestError(
                f"{location} is a file, or lies under one: name a folder."
            ) from error
        if missing and location.is_local:
            raise RequestError(f"{location} cannot be made there: name another folder.") from error
        raise RequestError(
            f"{location}: the bucket or container does not exist; create it first."
            if missing
            else f"{location} did not answer within {seconds:.0f} seconds: check the "
            "address, the network and the credentials."
            if isinstance(error, TimeoutError)
            else location.explain(error, done)
        ) from error
