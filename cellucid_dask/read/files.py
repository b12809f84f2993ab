"""Fetching the documents and files of an export from its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import names, schema
from cellucid_dask.format.decode import DamageError
from cellucid_dask.store.preflight import check_answers
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_MOST_JSON = 2**30
_FILES_AT_ONCE = 32


def read_documents(target: Target) -> dict[str, bytes]:
    """Read the JSON documents of an export, as far as they exist.

    Raises
    ------
    RequestError
        There are none, or the store does not answer.
    """
    check_answers(target, names.IDENTITY)
    wanted = (
        names.IDENTITY, names.OBS_MANIFEST, names.VAR_MANIFEST, names.CONNECTIVITY_MANIFEST,
    )  # fmt: skip
    fetched = target.fetch(dict.fromkeys(wanted, _MOST_JSON))
    found = {
        name: content_of(target, name, data)
        for name, data in fetched.items()
        if not isinstance(data, FileNotFoundError | NotADirectoryError)
    }
    if not found:
        raise RequestError(f"{target.url} holds no export: it has no {names.IDENTITY}.")
    return found


def content_of(target: Target, name: str, data: bytes | Exception) -> bytes:
    """Return what a file holds, or say plainly why it could not be read.

    Raises
    ------
    ExportError
        Naming the file.
    """
    if isinstance(data, FileNotFoundError | NotADirectoryError):
        raise ExportError(f"{target.url}/{name} is missing.") from data
    if isinstance(data, Exception):
        raise ExportError(target.explain(data, "read", name)) from data
    return data


def read_file(target: Target, file: schema.File) -> Array:
    """Read one file of an export, as it is stored.

    Raises
    ------
    ExportError
        It is missing, damaged, or not as long as it must be.
    """
    return next(read_files(target, [file]))


def read_files(target: Target, files: Sequence[schema.File]) -> Iterator[Array]:
    """Read files, some at once where the store can."""
    for start in range(0, len(files), _FILES_AT_ONCE):
        batch = files[start : start + _FILES_AT_ONCE]
        # one byte more than a file may have tells whether it is too long
        fetched = target.fetch({file.path: file.most_bytes + 1 for file in batch})
        for file in batch:
            data = content_of(target, file.path, fetched.pop(file.path))
            try:
                yield file.decode(data)
            except DamageError as error:
                raise ExportError(f"{target.url}/{file.path} {error}.") from error
