"""Failures of stores: classified into a few kinds, and explained in plain words.

Every store raises errors of its own, from packages that need not be installed here: they
are classified by their attributes and the names of their classes.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

from cellucid_dask.secrets import redacted


class Failure(Enum):
    """Kinds of failures, by what can be done about them."""

    TRANSIENT = auto()  # another try may succeed
    DENIED = auto()
    MISSING = auto()
    FULL = auto()
    QUOTA = auto()
    READ_ONLY = auto()
    OTHER = auto()


_ERRNOS = {
    errno.ENOSPC: Failure.FULL,
    errno.EDQUOT: Failure.QUOTA,
    errno.EROFS: Failure.READ_ONLY,
    errno.EACCES: Failure.DENIED,
    errno.EPERM: Failure.DENIED,
    errno.ENOENT: Failure.MISSING,
} | dict.fromkeys(
    (
        errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET,
        errno.EHOSTUNREACH, errno.EINTR, errno.ENETUNREACH, errno.EPIPE, errno.ETIMEDOUT,
    ),
    Failure.TRANSIENT,
)  # fmt: skip

_STATUSES = {401: Failure.DENIED, 403: Failure.DENIED, 404: Failure.MISSING, 507: Failure.FULL} | (
    dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 509), Failure.TRANSIENT)
)

# error codes that S3 sends with status 400
_CODES = dict.fromkeys(
    (
        "BadDigest", "IncompleteBody", "RequestTimeout", "SlowDown", "Throttling",
        "XAmzContentSHA256Mismatch",
    ),
    Failure.TRANSIENT,
) | dict.fromkeys(
    ("AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
    Failure.DENIED,
)  # fmt: skip

# of botocore, aiohttp, requests, gcsfs, google-auth, azure-core and fsspec
_CLASSES = dict.fromkeys(
    (
        "ChecksumError", "ChunkedEncodingError", "ClientConnectionError", "ClientPayloadError",
        "ConnectionError", "FSTimeoutError", "HTTPClientError", "IncompleteRead",
        "IncompleteReadError", "ResponseParserError", "ServiceRequestError",
        "ServiceResponseError", "Timeout", "TimeoutError", "TransportError",
    ),
    Failure.TRANSIENT,
) | dict.fromkeys(
    (
        "ClientAuthenticationError", "CredentialRetrievalError", "CredentialUnavailableError",
        "DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError",
        "PermissionError", "RefreshError", "TokenRetrievalError",
    ),
    Failure.DENIED,
) | dict.fromkeys(
    ("FileNotFoundError", "NoSuchBucket", "NotADirectoryError", "ResourceNotFoundError"),
    Failure.MISSING,
)  # fmt: skip


def failure_of(error: BaseException) -> Failure:
    """Classify an error of any store, or else the first of its causes that can be classified.

    fsspec says of whatever goes wrong on a web server that a file is not found, and why in the
    error's cause.
    """
    errors = list(_with_causes(error))
    if _hides_its_cause(error):
        errors = [*errors[1:], error]
    kinds = (_kind(each) for each in errors)
    return next((kind for kind in kinds if kind is not None), Failure.OTHER)


def _hides_its_cause(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) and error.__cause__ is not None


def is_missing_bucket(error: BaseException) -> bool:
    """Whether what is missing is the bucket or container itself."""
    return any(
        _code(each) in {"NoSuchBucket", "ContainerNotFound"}
        or re.search(r"(?i)the specified (bucket|container) does not exist", str(each))
        for each in _with_causes(error)
    )


def is_beyond_the_end(error: BaseException) -> bool:
    """Whether an object ends before the first byte that was asked for."""
    return any(
        _code(each) == "InvalidRange" or _status(each) == 416 for each in _with_causes(error)
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(8):
        if each is None:
            return
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _kind(error: BaseException) -> Failure | None:
    code, status = _code(error), _status(error)
    if code in _CODES:
        return _CODES[code]
    if status is not None:
        return _STATUSES.get(status, Failure.OTHER)
    if isinstance(error, OSError):
        if error.errno in _ERRNOS:
            return _ERRNOS[error.errno]
        if str(error).startswith("Forbidden"):  # gcsfs, without a number
            return Failure.DENIED
    names = [each.__name__ for each in type(error).__mro__]
    return next((_CLASSES[name] for name in names if name in _CLASSES), None)


def _code(error: BaseException) -> str:
    """Return the store's own code of an error, or an empty string."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        return str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "error_code", None)  # azure
    return "" if code is None else str(getattr(code, "value", code))


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error carries, or `None`."""
    response = getattr(error, "response", None)
    # aiohttp warns of its code, which is its status
    names = ("status",) if hasattr(error, "status") else ("status_code", "code")
    candidates: list[Any] = [getattr(error, name, None) for name in names]
    if isinstance(response, Mapping):
        candidates.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    else:
        candidates.append(getattr(response, "status_code", None))
    for each in candidates:
        if isinstance(each, int | str) and re.fullmatch(r"[1-5]\d\d", str(each)):
            return int(each)
    return None


def reason(error: BaseException, *given: Any) -> str:
    """Return a few words of the store's own, without the secrets of what was `given`.

    These are options of stores and URLs, see `redacted`.
    """
    for each in _with_causes(error):
        code = _code(each)
        if code and not code.isdigit():
            return code
    if _hides_its_cause(error) and error.__cause__ is not None:
        error = error.__cause__
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    if (status := _status(error)) and (words := getattr(error, "message", "")):
        text = f"{status} {words}"  # aiohttp's; its text repeats the whole address
    return redacted(str(text).splitlines()[0], *given)[:200].rstrip(".")


def explain(error: BaseException, url: str, done: str, *given: Any) -> str:
    """Say what went wrong and what to do about it, in a sentence.

    Parameters
    ----------
    url
        What was being read or written.
    done
        What could not be done with it, as a participle: ``"written to"``.
    *given
        Options and URLs whose secrets must not be shown.
    """
    why = reason(error, *given)
    return {
        Failure.TRANSIENT: f"{url} could not be {done}, the store did not respond correctly "
        f"({why}): check the address, the network and the state of the store.",
        Failure.DENIED: f"{url} could not be {done}, access was denied ({why}): "
        "check its permissions and your credentials.",
        Failure.MISSING: f"{url} does not exist: check the address."
        if done == "read"
        else f"{url} does not exist, nor perhaps its bucket or container: create that first.",
        Failure.FULL: f"{url} could not be {done}, the disk is full ({why}): free some space or "
        "choose another location.",
        Failure.QUOTA: f"{url} could not be {done}, a quota is exceeded ({why}): remove files, or "
        "choose another location.",
        Failure.READ_ONLY: f"{url} could not be {done}, it is read-only ({why}): choose another "
        "location.",
        Failure.OTHER: f"{url} could not be {done}: {why}.",
    }[failure_of(error)]
