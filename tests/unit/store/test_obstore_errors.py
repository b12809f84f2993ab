"""Errors of obstore become plain ones, without what its texts have beside."""

from __future__ import annotations

import pytest

from cellucid_dask.store.failures import Failure, failure_of, is_missing_bucket, reason

pytest.importorskip("obstore")

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from cellucid_dask.store.obstore_errors import plain, plain_errors

ADDRESS = "https://lab.blob.core.windows.net/c/a?sv=1&sig=hush-hush"


def refused(status: str, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>" if code else ""
    return (
        f"Generic S3 error: Error performing GET {ADDRESS} in 4.1ms - Server returned non-2xx "
        f"status code: {status}: {body}\n\nDebug source:\nGeneric {{\n    uri: Some(\n        "
        f"{ADDRESS},\n    ),\n}}"
    )


def broken(kind: str) -> str:
    return (
        f"Generic S3 error: Error performing GET {ADDRESS} in 3s - HTTP error: error sending "
        f"request\n\nDebug source:\n HttpError {{\n    kind: {kind},\n    {ADDRESS}"
    )


@pytest.mark.parametrize(
    ("error", "failure", "words"),
    [
        (GenericError(refused("503 Service Unavailable", "SlowDown")), Failure.TRANSIENT,
         "SlowDown"),
        (GenericError(refused("503 Service Unavailable")), Failure.TRANSIENT,
         "503 Service Unavailable"),
        (GenericError(refused("429 Too Many Requests")), Failure.TRANSIENT,
         "429 Too Many Requests"),
        (GenericError(refused("400 Bad Request", "RequestTimeout")), Failure.TRANSIENT,
         "RequestTimeout"),
        (GenericError(refused("400 Bad Request", "ExpiredToken")), Failure.DENIED, "ExpiredToken"),
        (GenericError(refused("400 Bad Request")), Failure.OTHER, "400 Bad Request"),
        (GenericError(refused("507 Insufficient Storage")), Failure.FULL,
         "507 Insufficient Storage"),
        (GenericError(refused("404 Not Found", "NoSuchBucket")), Failure.MISSING, "NoSuchBucket"),
        (FileNotFoundError(refused("404 Not Found", "NoSuchKey")), Failure.MISSING, "NoSuchKey"),
        (PermissionDeniedError(refused("403 Forbidden", "AccessDenied")), Failure.DENIED,
         "AccessDenied"),
        (PermissionDeniedError(refused("403 Forbidden")), Failure.DENIED, "403 Forbidden"),
        (UnauthenticatedError(refused("401 Unauthorized")), Failure.DENIED, "401 Unauthorized"),
        (
            UnauthenticatedError(
                "The operation lacked valid authentication credentials for path External AWS "
                "credential provider: ValueError: unable to locate credentials\n\nDebug"
            ),
            Failure.DENIED, "unable to locate credentials",
        ),
        (GenericError(broken("Timeout")), Failure.TRANSIENT, "no answer in time"),
        (GenericError(broken("Connect")), Failure.TRANSIENT, "no connection"),
        (GenericError(broken("Decode")), Failure.TRANSIENT, "the connection broke off"),
        (ValueError("Could not parse path"), Failure.OTHER, "Could not parse path"),
        (BaseError(f"what is {ADDRESS} for"), Failure.OTHER, "what is ... for"),
    ],
)  # fmt: skip
def test_kinds_and_words(error: Exception, failure: Failure, words: str) -> None:
    made = plain(error)
    assert failure_of(made) is failure
    assert reason(made, {}) == words
    assert "hush" not in f"{made!r}{made}"
    assert is_missing_bucket(made) == (words == "NoSuchBucket")


def test_what_exists() -> None:
    text = refused("412 Precondition Failed", "PreconditionFailed")
    with pytest.raises(FileExistsError) as raised, plain_errors():
        raise AlreadyExistsError(text)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
