"""Reading the documents and binary files of an export from its target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import layout, names, parse, schema
from cellucid_dask.format.decode import DamageError
from cellucid_dask.store.location import MAX_BYTES
from cellucid_dask.store.missing import not_there
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

_FILES_AT_ONCE = 32


def read_documents(target: Target) -> schema.Documents:
    """Read and parse the JSON documents of an export, as `fetch_documents` and `parse` do."""
    return parse.documents(fetch_documents(target))


def fetch_documents(target: Target) -> dict[str, bytes]:
    """Read the JSON documents of an export.

    Returns
    -------
    dict
        Content by name, of those that exist.

    Raises
    ------
    RequestError
        There are none.
    ExportError
        A document cannot be read.
    """
    fetched = target.fetch(dict.fromkeys(layout.DOCUMENTS, MAX_BYTES))
    files = {
        name: content_of(target, name, data)
        for name, data in fetched.items()
        if not isinstance(data, FileNotFoundError | NotADirectoryError)
    }
    if sum(map(len, files.values())) > MAX_BYTES:
        raise ExportError(f"The documents of {target} are larger than those of any export.")
    if not files:
        raise no_export(target, f"it has no {names.IDENTITY}")
    return files


def no_export(target: Target, why: str) -> RequestError:
    """Return the error of what is not an export, which may be something else.

    Parameters
    ----------
    target
        What was taken for one.
    why
        What it lacks, if it is a folder.
    """
    if target.is_local and not Path(target.url).exists():
        return not_there(target.url)
    if target.is_local and Path(target.url).is_file():
        return RequestError(
            f"{target} is a file, not an export: export it with cellucid-dask export, and name "
            "the folder of its export."
        )
    return RequestError(f"{target} contains no export: {why}.")


def content_of(target: Target, name: str, data: bytes | Exception) -> bytes:
    """Return the content of a fetched file.

    Parameters
    ----------
    target
        The export.
    name
        Of the file.
    data
        Its content, or the error with which `Target.fetch` failed.

    Raises
    ------
    ExportError
        The file could not be read; the message names it and the cause.
    """
    if isinstance(data, FileNotFoundError | NotADirectoryError):
        raise ExportError(f"{target}/{name} is missing.") from data
    if isinstance(data, Exception):
        raise ExportError(target.explain(data, "read", name)) from data
    return data


def read_file(target: Target, file: schema.File) -> Array:
    """Read one file of an export, as `read_files` does."""
    return next(read_files(target, [file]))


def read_files(target: Target, files: Sequence[schema.File]) -> Iterator[Array]:
    """Read files, several at once where the store can.

    Yields
    ------
    ndarray
        The values of each file as they are stored, codes or numbers.

    Raises
    ------
    ExportError
        A file is missing, damaged, or contains a wrong number of values.
    """
    for start in range(0, len(files), _FILES_AT_ONCE):
        batch = files[start : start + _FILES_AT_ONCE]
        fetched = target.fetch({file.path: file.max_bytes for file in batch})
        for file in batch:
            data = content_of(target, file.path, fetched.pop(file.path))
            try:
                yield file.decode(data)
            except DamageError as error:
                raise ExportError(f"{target}/{file.path} {error}.") from error
