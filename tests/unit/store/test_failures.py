"""Every kind of failure of every client is recognized without importing its package."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cellucid_dask.errors import RequestError
from cellucid_dask.store import coroutines, failures, retry
from cellucid_dask.store.failures import Failure, explain, failure_of, reason
from cellucid_dask.store.location import Location


def made(name: str, base: type[BaseException] = Exception, **attributes: Any) -> BaseException:
    """Make an error of a class of this name, which carries these attributes."""
    error = type(name, (base,), {})("words")
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


def client_error(status: int, code: str) -> BaseException:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return made("ClientError", response=response)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (client_error(503, "SlowDown"), Failure.TRANSIENT),
        (client_error(500, "InternalError"), Failure.TRANSIENT),
        (client_error(400, "RequestTimeout"), Failure.TRANSIENT),
        (client_error(400, "ExpiredToken"), Failure.DENIED),
        (client_error(403, "SignatureDoesNotMatch"), Failure.DENIED),
        (client_error(404, "NoSuchBucket"), Failure.MISSING),
        (client_error(400, "InvalidArgument"), Failure.OTHER),
        (caused(OSError(errno.EIO, "x"), client_error(502, "502")), Failure.TRANSIENT),
        (caused(OSError(errno.EBUSY, "x"), client_error(503, "503")), Failure.TRANSIENT),
        (caused(PermissionError("x"), client_error(403, "403")), Failure.DENIED),
        (made("HttpError", code=429), Failure.TRANSIENT),
        (made("HttpError", code="503"), Failure.TRANSIENT),
        (made("HttpError", code=401), Failure.DENIED),
        (OSError("Forbidden: https://x/y\nno"), Failure.DENIED),
        (made("ClientResponseError", status=504), Failure.TRANSIENT),
        (made("ClientResponseError", status=410), Failure.OTHER),
        (made("ClientPayloadError"), Failure.TRANSIENT),
        (made("ServerDisconnectedError", ConnectionError), Failure.TRANSIENT),
        (made("HttpResponseError", status_code=503, error_code="ServerBusy"), Failure.TRANSIENT),
        (made("ClientAuthenticationError", status_code=403), Failure.DENIED),
        (made("ResourceNotFoundError", status_code=404), Failure.MISSING),
        (made("ServiceRequestError"), Failure.TRANSIENT),
        (made("NoCredentialsError"), Failure.DENIED),
        (TimeoutError(), Failure.TRANSIENT),
        (ConnectionResetError(), Failure.TRANSIENT),
        (OSError(errno.ENOSPC, "x"), Failure.FULL),
        (OSError(errno.EDQUOT, "x"), Failure.QUOTA),
        (OSError(errno.EROFS, "x"), Failure.READ_ONLY),
        (OSError(errno.EACCES, "x"), Failure.DENIED),
        (FileNotFoundError("bucket"), Failure.MISSING),
        (ValueError("x"), Failure.OTHER),
        (SystemExit(1), Failure.OTHER),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'name', '')}",
)
def test_failure_of(error: BaseException, failure: Failure) -> None:
    assert failure_of(error) is failure


@pytest.mark.parametrize("status", [*range(400, 418), *range(500, 506)])
def test_a_status_means_the_same_to_every_client(status: int) -> None:
    found = {
        failure_of(error)
        for error in (
            client_error(status, str(status)),
            made("HttpError", code=status),
            made("ClientResponseError", status=status),
            made("HttpResponseError", status_code=status),
        )
    }
    assert len(found) == 1


def test_secrets_are_not_said() -> None:
    options = {"key": "AKID", "client_kwargs": {"secret": "hush-hush"}}
    error = ValueError("bad hush-hush of AKID at https://x/y?sig=abc")
    told = reason(error, options)
    assert "hush" not in told
    assert "AKID" not in told
    assert "abc" not in told
    assert "hush" not in explain(error, "s3://b", "written to", options)


def test_every_failure_has_words() -> None:
    errors = [OSError(number, "x") for number in failures._ERRNOS]
    for error in [*errors, ValueError("x")]:
        assert explain(error, "s3://b/a", "read", {}).startswith("s3://b/a ")


def test_transient_failures_are_tried_again() -> None:
    waited: list[float] = []
    answers = iter([ConnectionResetError(), TimeoutError(), 7])

    def call() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry.with_retries(call, waited.append) == 7
    assert len(waited) == 2
    assert 0.2 <= waited[0] <= 0.6 <= waited[1] <= 1.8


@pytest.mark.parametrize(("error", "tries"), [(TimeoutError(), 6), (PermissionError(), 1)])
def test_tries_are_bounded(error: Exception, tries: int) -> None:
    waited: list[float] = []
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retry.with_retries(call, waited.append)
    assert len(calls) == tries
    assert sum(waited) < 75


def timed(call: Callable[[], Awaitable[object]], seconds: float) -> tuple[str, float]:
    """Return what a call that fails says, and after how long."""
    began = time.monotonic()
    with pytest.raises(OSError, match=r"^(busy|no)") as failure:
        asyncio.run(coroutines.with_retries_async(call, seconds))
    return f"{type(failure.value).__name__}: {failure.value}", time.monotonic() - began


async def silent() -> None:
    await asyncio.sleep(60)


async def busy() -> None:
    """Fail, as a client does that repeats by itself for a while."""
    await asyncio.sleep(0.15)
    raise ConnectionResetError("busy")


def silent_after(tries: int) -> Callable[[], Awaitable[None]]:
    calls = [busy] * tries + [silent]
    return lambda: calls.pop(0)()  # noqa: PLW0108  each time the next one


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (silent, "TimeoutError: no answer in 1 seconds"),
        (busy, "ConnectionResetError: busy"),
        (silent_after(1), "ConnectionResetError: busy"),
    ],
)
def test_waits_end(call: Callable[[], Awaitable[object]], words: str) -> None:
    said, seconds = timed(call, 1)
    assert said == words
    assert 0.9 < seconds < 5


def test_what_is_said_for_good_is_not_waited_for() -> None:
    async def denied() -> None:
        raise PermissionError("no")

    said, seconds = timed(denied, 60)
    assert said == "PermissionError: no"
    assert seconds < 5


def test_a_password_in_a_url_is_refused() -> None:
    with pytest.raises(RequestError, match="storage option") as refusal:
        Location.of("sftp://me:hush@host/x")
    assert "hush" not in str(refusal.value)
