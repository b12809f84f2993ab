"""Documents and checksums of an export, compared with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cellucid_dask.format import layout, names, schema
from cellucid_dask.format.checksums import FILE_KEY, OWN_KEY, is_signed, parse, sha256
from cellucid_dask.format.decode import DamageError
from cellucid_dask.store.target import Target

OTHER_CONTENT = f"is not the file that was written: {names.CHECKSUMS} has another checksum"


def read_checksums(target: Target) -> tuple[bytes | None, dict[str, str] | None, list[str]]:
    """Read the checksums of an export.

    Returns
    -------
    content
        Of the file; None if the export has none.
    checksums
        SHA-256 by path; None if there are none that can be read.
    findings
        What is wrong with them.
    """
    data = target.read(names.CHECKSUMS)
    if data is None:
        return None, None, []
    try:
        return data, parse(data), []
    except DamageError as error:
        return data, None, [f"{names.CHECKSUMS} {error}"]


def check_documents(
    contents: Mapping[str, bytes],
    documents: schema.Documents,
    data: bytes | None,
    checksums: Mapping[str, str] | None,
) -> Iterator[str]:
    """Report documents that are not those that were written, one sentence each.

    Parameters
    ----------
    contents
        Of the documents that exist, by name.
    documents
        The same, parsed.
    data, checksums
        The result of `read_checksums`.
    """
    settings = documents.json.get(names.IDENTITY, {}).get("export_settings")
    recorded = settings if isinstance(settings, dict) else {}
    own = recorded.get(OWN_KEY)
    if own is not None and not is_signed(contents[names.IDENTITY], str(own)):
        yield f"{names.IDENTITY} is not the file that was written: its own digest is another"
    if data is None and FILE_KEY in recorded:
        yield f"{names.CHECKSUMS} is missing: {names.IDENTITY} names it"
    elif (
        data is not None
        and names.IDENTITY in documents.json
        and (recorded.get(FILE_KEY) != sha256(data) or own is None)
    ):
        yield f"{names.CHECKSUMS} is not the one that {names.IDENTITY} names"
    if checksums is not None:
        for name in sorted(set(contents) - {names.IDENTITY}):
            if checksums.get(name) != sha256(contents[name]):
                yield f"{name} {OTHER_CONTENT}"


def check_others(
    target: Target, documents: schema.Documents, checksums: Mapping[str, str]
) -> Iterator[str]:
    """Report optional files that were changed, and files that have no checksum."""
    for path in sorted(filter(layout.is_extra, checksums)):
        content = target.read(path)
        if content is None:
            yield f"{path} is missing: {names.CHECKSUMS} names it"
        elif sha256(content) != checksums[path]:
            yield f"{path} {OTHER_CONTENT}"
    for file in documents.files():
        if file.path not in checksums:
            yield f"{file.path} has no checksum in {names.CHECKSUMS}"
