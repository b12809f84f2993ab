"""The checksums of an export, in a file that ``sha256sum -c`` reads, and the identity's own.

``checksums.sha256`` has a line for every binary file and document but the page, itself and the
identity. The identity names its digest, and signs itself, so that any change of one file shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from cellucid_dask.format.decode import DamageError
from cellucid_dask.format.manifests import to_json
from cellucid_dask.types import Json

_LINE = re.compile(rb"([0-9a-f]{64})  ([^\n\\]+)\n")
# Of the identity's export_settings: the digest of the file of checksums, and that of the identity
# itself, computed with the digest left empty.
FILE_KEY, OWN_KEY = "checksums_sha256", "identity_sha256"


class FileDigest(NamedTuple):
    """What identifies the content of a file.

    Attributes
    ----------
    nbytes
        Its size.
    sha256
        In hexadecimal; empty where nothing will compare it.
    tag
        What tells at little cost whether the file still has the content, see `Target.tag`; may be
        empty.
    """

    nbytes: int
    sha256: str
    tag: str = ""

    @classmethod
    def of(cls, data: bytes | memoryview, tag: str = "") -> FileDigest:
        """Compute the digest of a content."""
        return cls(len(data), sha256(data), tag)

    @classmethod
    def size_of(cls, data: bytes) -> FileDigest:
        """Return what identifies a content that is not written: its size."""
        return cls(len(data), "")


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of a content in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def to_text(checksums: Mapping[str, str]) -> bytes:
    """Return the content of ``checksums.sha256``.

    Parameters
    ----------
    checksums
        SHA-256 in hexadecimal by path, relative to the export.
    """
    return "".join(f"{checksums[path]}  {path}\n" for path in sorted(checksums)).encode()


def parse(data: bytes) -> dict[str, str]:
    """Read ``checksums.sha256``.

    Returns
    -------
    dict
        SHA-256 in hexadecimal by path.

    Raises
    ------
    DamageError
        It is not what `to_text` writes.
    """
    checksums: dict[str, str] = {}
    at, last = 0, ""
    with suppress(UnicodeDecodeError):
        for line in _LINE.finditer(data):  # one at a time: there may be very many
            digest, path = line[1].decode(), line[2].decode()
            if line.start() != at or path <= last:
                break
            checksums[path], at, last = digest, line.end(), path
    if at < len(data):
        raise DamageError("is not a list of checksums")
    return checksums


def signed(identity: Json, checksums: bytes) -> bytes:
    """Return the content of ``dataset_identity.json`` with both digests in it.

    Parameters
    ----------
    identity
        The document; its export_settings get the digests.
    checksums
        Content of ``checksums.sha256``.
    """
    settings = identity["export_settings"]
    settings |= {FILE_KEY: sha256(checksums), OWN_KEY: ""}
    settings[OWN_KEY] = sha256(to_json(identity, indent=2))
    return to_json(identity, indent=2)


def unsigned(identity: Json) -> Json:
    """Return an identity without digests, as before its files change."""
    settings = {
        key: value
        for key, value in identity["export_settings"].items()
        if key not in (FILE_KEY, OWN_KEY)
    }
    return {**identity, "export_settings": settings}


def is_signed(identity: bytes, digest: str) -> bool:
    """Whether the content of an identity has the digest that it names."""
    return sha256(identity.replace(digest.encode(), b"", 1)) == digest
