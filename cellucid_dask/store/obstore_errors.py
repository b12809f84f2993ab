"""What obstore raises, as errors that say no more than what went wrong.

Its own texts have the whole address, which may hold a signature, and pages of Rust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

_STATUS = re.compile(r"status code: ((\d{3})[^:\n]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_ODD = re.compile(
    ": (Invalid last modified|Last-Modified header missing|Missing last modified|"
    "Failed to parse value for CONTENT_RANGE)"  # of an empty object, in azurite
)
_PROVIDER = re.compile(r"External \w+ credential provider: (?:\w+: )?([^\n]*)")


class StoreError(Exception):
    """A store's refusal that is of no kind Python has an error for."""


class OddAnswerError(StoreError):
    """An answer that obstore does not understand, such as a date that does not exist."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors of obstore that are raised inside the block into plain ones."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise plain(error) from None


def plain(error: Exception) -> Exception:
    """Return an error of Python's own for one of obstore's.

    It carries the HTTP status as ``status_code`` and the store's own code as ``error_code``, where
    there are such.
    """
    text = str(error)
    status, code, provider = _STATUS.search(text), _CODE.search(text), _PROVIDER.search(text)
    words = (
        provider[1] if provider
        else status[1] if status
        else "no answer in time" if "kind: Timeout" in text
        else "no connection" if "kind: Connect" in text
        else "the connection broke off" if "HTTP error" in text
        else re.sub(r"\S+://\S+", "...", text.partition("\n")[0])
    )  # fmt: skip
    kind: type[Exception] = OddAnswerError if _ODD.search(text) else StoreError
    if isinstance(error, FileNotFoundError) or (status and status[2] == "404"):
        kind = FileNotFoundError
    elif isinstance(error, AlreadyExistsError | PreconditionError):
        kind = FileExistsError
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError):
        kind = PermissionError
    elif status is None and "HTTP error" in text:
        kind = TimeoutError if "kind: Timeout" in text else ConnectionError
    made = kind(words)
    if status:
        vars(made)["status_code"] = int(status[2])
    if code:
        vars(made)["error_code"] = code[1]
    return made
