"""What must not be shown: users, passwords, signatures and tokens, in URLs and in texts of others.

Everything that is printed, logged or written passes through `shown`, if it is a URL, or through
`redacted`, if it is a text that somebody else's library made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

_MASK = "***"
_MIN_LENGTH = 4  # of a secret: a shorter one would mask parts of words
_IN_TEXT = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>`\\{}|^]+")
# a password may have slashes; abfs://container@account names no user
_USER = re.compile(r"(?<!abfs)(?<!abfss)://(?:[^/?#]*:(?!\d+(?:/|$))[^?#]*|[^/]*)@")
_CHAIN = re.compile(r"::(?=[A-Za-z][\w+.-]*://)")  # from one store into another
_QUERY = re.compile(r"\?.*|;[^/;?#]*=[^/?#]*|#[^#/]*=.*", re.DOTALL)
_RELATIVE = re.compile(r"(?<=[\w/.])\?[^\s'\"<>]*=[^\s'\"<>]*")
_NAMED = re.compile(
    r"""(?ix)
    ( ["']? \b [\w.-]* (?: secret | token | passw | pwd | signature | \bsig\b | credential
      | account_?key | access_?key | api_?key | connection_?string | authorization | \bsas\b )
      [\w.-]* ["']? \s* (?: = | : | => ) \s* (?: b?["'] )? )
    (?: (?: bearer | basic | sharedkey | aws4-hmac-sha256 ) \s+ )?
    [^\s,;&"'(){}\[\]]+"""
)
_VARIABLES = re.compile(r"SECRET|PASSWORD|(^|_)(KEY|KEY_ID|TOKEN|SAS|CONNECTION_STRING)$")


def shown(url: str) -> str:
    """Return a URL as it may be shown: without user, and values of query and fragment."""
    if "://" not in url:
        return url
    return "::".join(map(_shown_link, _CHAIN.split(url)))


def _shown_link(url: str) -> str:
    plain = _QUERY.sub(lambda rest: f"{rest[0][0]}...", url)
    return _USER.sub("://...@", plain)


def redacted(text: str, *given: Any) -> str:
    """Return a text of a library as it may be shown.

    Parameters
    ----------
    text
        A message, a line of a log or a traceback.
    *given
        Where its secrets may be from, besides the environment: URLs, and options of stores.
    """
    known = {each for value in given for each in _secrets(value)}
    known.update(
        value
        for name, value in os.environ.items()
        if _VARIABLES.search(name) and len(value) >= 2 * _MIN_LENGTH
    )
    written = {form for each in known for form in (each, quote(each, safe=""), unquote(each))}
    for secret in sorted(written, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    text = _IN_TEXT.sub(lambda url: shown(url[0]), text)
    text = _RELATIVE.sub("?...", text)
    return _NAMED.sub(rf"\1{_MASK}", text)


def _secrets(value: Any) -> Iterator[str]:
    """Find what may be secret in a URL or in options."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _of_option(each)
    elif isinstance(value, str) and "://" in value:
        yield from _of_url(value)


def _of_option(value: Any) -> Iterator[str]:
    """Find the texts of an option; whatever they are, they are nobody's business."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        yield from _secrets(value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _of_option(each)
    elif isinstance(value, str) and "://" in value and shown(value) == value:
        return  # an endpoint, which helps to understand what went wrong
    elif isinstance(value, str) and len(value) >= _MIN_LENGTH:
        yield value
        yield from _of_url(value)
        for part in value.split(";"):  # of a connection string
            yield from _long(part.partition("=")[2])


def _of_url(url: str) -> Iterator[str]:
    for user in _USER.findall(url):
        name, _, password = user.removeprefix("://").removesuffix("@").partition(":")
        yield from _long(password or name)
    for rest in _QUERY.findall(url):
        for part in re.split(r"[?&;#]", rest):
            key, _, value = part.partition("=")
            yield from _long(value or key)


def _long(text: str) -> Iterator[str]:
    if len(text) >= _MIN_LENGTH:
        yield text
