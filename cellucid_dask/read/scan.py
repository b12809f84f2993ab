"""Scanning an export: documents that disagree, files out of place, values that are not valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from dask.delayed import delayed

from cellucid_dask.errors import ExportError
from cellucid_dask.format import invariants, layout, names, parse, schema
from cellucid_dask.format.checksums import sha256
from cellucid_dask.format.decode import DamageError
from cellucid_dask.page import INDEX, files_named_by
from cellucid_dask.planning import split_by_cost
from cellucid_dask.read.checked import (
    OTHER_CONTENT,
    check_documents,
    check_others,
    read_checksums,
)
from cellucid_dask.read.files import content_of, fetch_documents
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

# A task reads about this much at a time; a file counts for at least a 64th of it.
_BATCH_BYTES = 16 * 2**20
_MIN_FILE_BYTES = _BATCH_BYTES // 64


@dataclass(frozen=True)
class ScannedExport:
    """The documents of an export, and the files beside them.

    Attributes
    ----------
    target
        Where it is.
    documents
        As far as they can be parsed.
    listing
        Sizes of all files in bytes, by path; None if the store cannot list them.
    checksums
        SHA-256 of its files by path; None if it has none, as exports of other programs.
    damage
        What is wrong with the checksums, and with the documents by them.
    """

    target: Target
    documents: schema.Documents
    listing: dict[str, int] | None
    checksums: dict[str, str] | None
    damage: tuple[str, ...]

    @classmethod
    def read(cls, target: Target) -> ScannedExport:
        """Read the documents and the checksums, and list the files."""
        contents = fetch_documents(target)
        documents = parse.documents(contents)
        data, checksums, findings = read_checksums(target)
        findings += check_documents(contents, documents, data, checksums)
        if checksums is not None:
            findings += check_others(target, documents, checksums)
        return cls(target, documents, target.tree(), checksums, tuple(findings))


def misplaced(export: ScannedExport) -> Iterator[str]:
    """Report files that are missing, and files that do not belong to the export."""
    if export.listing is None:
        return
    named = {file.path for file in export.documents.files()}
    for path in sorted(named.difference(export.listing)):
        yield f"{path} is missing"
    if INDEX in export.listing:
        index = export.target.read(INDEX) or b""
        for path in sorted(files_named_by(index).difference(export.listing)):
            yield f"{path} is missing: {INDEX} names it"
    if not export.documents.damage:  # otherwise the documents do not name all files
        for path in sorted(set(export.listing).difference(named, layout.DOCUMENTS)):
            if not layout.is_extra(path):
                yield f"{path} is left over: no document names it"


def damaged(export: ScannedExport, files: Sequence[schema.File]) -> Iterator[str]:
    """Read files by Dask tasks and report what is wrong with each."""
    sizes, edges = export.listing, export.documents.edges
    existing = [file for file in files if sizes is None or file.path in sizes]
    ends = list(edges.files()) if edges else []
    tasks = [
        # not as arguments, which Dask would search for collections, file by file
        delayed(
            partial(scan_files, export.target, batch, _of(export.checksums, batch)), pure=False
        )()
        for batch in _batches([file for file in existing if file not in ends], sizes or {})
    ]
    with follow("reading files", len(tasks), "batches") as progress:
        findings = [each for batch in run_all(tasks, progress=progress) for each in batch]
    yield from findings
    # only an intact file of points shows that there are as many cells as the edges count
    intact = [
        file.shape[0]
        for file in existing
        if isinstance(file, schema.Points)
        and not any(finding.startswith(file.path) for finding in findings)
    ]
    if edges and edges.n_cells in intact and all(file in existing for file in ends):
        sums = _of(export.checksums, ends)
        (findings,) = run_all([delayed(scan_edges, pure=False)(export.target, edges, sums)])
        yield from findings


def _of(checksums: Mapping[str, str] | None, files: Sequence[schema.File]) -> dict[str, str]:
    sums = checksums or {}
    return {file.path: sums[file.path] for file in files if file.path in sums}


def _batches(files: Sequence[schema.File], sizes: Mapping[str, int]) -> Iterator[list[schema.File]]:
    nbytes = np.array([sizes.get(file.path, file.max_bytes) for file in files], np.int64)
    for start, stop in split_by_cost(np.maximum(nbytes, _MIN_FILE_BYTES), _BATCH_BYTES):
        yield list(files[start:stop])


def scan_files(
    target: Target, files: Sequence[schema.File], checksums: Mapping[str, str]
) -> list[str]:
    """Read files and report what is wrong with each (task)."""
    fetched = target.fetch({file.path: file.max_bytes for file in files})
    findings = []
    for file in files:
        data = fetched.pop(file.path)
        try:
            chunks = _chunks(target, file, data)
            found = [f"{file.path} {each}" for each in invariants.check_values(file, chunks)]
        except ExportError as error:
            found = [_finding(target, error)]
        findings += found or _other_content(file, data, checksums)
    return findings


def _other_content(
    file: schema.File, data: bytes | Exception, checksums: Mapping[str, str]
) -> list[str]:
    """Report values that are valid but not those that were written."""
    changed = isinstance(data, bytes) and checksums.get(file.path) not in (None, sha256(data))
    return [f"{file.path} {OTHER_CONTENT}"] if changed else []


def scan_edges(target: Target, edges: schema.Edges, checksums: Mapping[str, str]) -> list[str]:
    """Read the edges in chunks and report what is wrong with them (task)."""
    files = list(edges.files())
    fetched = target.fetch({file.path: file.max_bytes for file in files})
    try:
        chunks = zip(*(_chunks(target, file, fetched[file.path]) for file in files), strict=True)
        violations = list(invariants.check_edges(edges, chunks))
    except ExportError as error:
        return [_finding(target, error)]
    found = [f"{names.CONNECTIVITY_DIR}: the edges {violation}" for violation in violations]
    if not found:
        for file in files:
            found += _other_content(file, fetched[file.path], checksums)
    return found


def _chunks(target: Target, file: schema.File, data: bytes | Exception) -> Iterator[Array]:
    try:
        yield from file.chunks(content_of(target, file.path, data))
    except DamageError as error:
        raise ExportError(f"{target}/{file.path} {error}.") from error


def _finding(target: Target, error: ExportError) -> str:
    return str(error).removeprefix(f"{target}/").rstrip(".")
