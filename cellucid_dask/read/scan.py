"""An export as it lies there, and what is wrong with its documents and files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed

from cellucid_dask.errors import ExportError
from cellucid_dask.format import names, parse, schema
from cellucid_dask.format.decode import DamageError
from cellucid_dask.planning import split_by_cost
from cellucid_dask.read import invariants as faults
from cellucid_dask.read.files import content_of, read_documents
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array, Json

# A task reads about this much at once; a file counts for no less than a 64th of it.
_BATCH_BYTES = 16 * 2**20
_LEAST_BYTES = _BATCH_BYTES // 64

_PARTS: dict[str, Callable[[Json], Any]] = {
    names.IDENTITY: parse.embeddings,
    names.OBS_MANIFEST: parse.columns,
    names.VAR_MANIFEST: parse.genes,
    names.CONNECTIVITY_MANIFEST: parse.edges,
}


@dataclass(frozen=True)
class Found:
    """The documents of an export as far as they can be read, and what lies beside them."""

    target: Target
    documents: dict[str, Json]
    parts: dict[str, Any]
    damage: list[str]
    listing: dict[str, int] | None

    @classmethod
    def read(cls, target: Target) -> Found:
        """Read the documents, and list what lies beside them."""
        held, parts, damage = {}, {}, []
        for name, data in read_documents(target).items():
            try:
                held[name] = parse.parse(data)
                parts[name] = _PARTS[name](held[name])
            except DamageError as error:
                damage.append(f"{name} {error}")
        return cls(target, held, parts, damage, target.tree())

    @property
    def n_cells(self) -> int:
        """Number of cells, by the first document that says."""
        return next((int(part.n_cells) for part in self.parts.values()), 0)

    @property
    def normalization(self) -> dict[str, Any]:
        """The option that says how genes were normalized, if they were."""
        if names.IDENTITY not in self.parts:
            return {}
        told = self.documents[names.IDENTITY]["export_settings"]
        return {} if told.get("normalize") is None else {"normalize": told["normalize"]}

    @property
    def files(self) -> list[schema.File]:
        """Every file that the documents name."""
        return [file for part in self.parts.values() for file in part.files()]


def disagreements(export: Found) -> Iterator[str]:
    """Say where documents are missing, or contradict each other."""
    parts = export.parts
    for one, other in itertools.permutations((names.IDENTITY, names.OBS_MANIFEST)):
        if one in export.documents and other not in export.documents:
            yield f"{other} is missing: the export is not whole"
    for what, value in (("n_cells", "cells"), ("level", "gzip level")):
        told = {name: getattr(part, what) for name, part in parts.items()}
        if len(set(told.values())) > 1:
            shown = ", ".join(f"{number} in {name}" for name, number in told.items())
            yield f"documents differ in their {value}: {shown}"
    if not export.damage and names.IDENTITY in parts:
        for finding in faults.of_identity(
            export.documents[names.IDENTITY],
            parts.get(names.OBS_MANIFEST),
            parts.get(names.VAR_MANIFEST),
            parts.get(names.CONNECTIVITY_MANIFEST),
        ):
            yield f"{names.IDENTITY} {finding}"


def misplaced(export: Found) -> Iterator[str]:
    """Say which files are missing, and which are there though nothing names them."""
    if export.listing is None:
        return
    promised = {file.path for file in export.files}
    for path in sorted(promised - set(export.listing)):
        yield f"{path} is missing"
    if not export.damage:  # else it is not known what should be there
        for path in sorted(set(export.listing) - promised - set(_PARTS)):
            yield f"{path} is left over: no document names it"


def damaged(export: Found, files: Sequence[schema.File]) -> Iterator[str]:
    """Read files by Dask tasks and say what is wrong with each."""
    sizes = export.listing
    there = [file for file in files if sizes is None or file.path in sizes]
    edges = export.parts.get(names.CONNECTIVITY_MANIFEST)
    ends = list(edges.files()) if edges else []
    tasks = [
        delayed(check_files, pure=False)(export.target, batch)
        for batch in _batches([file for file in there if file not in ends], sizes or {})
    ]
    wrong = [finding for findings in run_all(tasks) for finding in findings]
    yield from wrong
    # only a whole file of points shows that there are as many cells as the edges count
    whole = [
        file.shape[0]
        for file in there
        if isinstance(file, schema.Points)
        and not any(finding.startswith(file.path) for finding in wrong)
    ]
    if edges and edges.n_cells in whole and all(file in there for file in ends):
        (found,) = run_all([delayed(check_edges, pure=False)(export.target, edges)])
        yield from found


def _batches(files: Sequence[schema.File], sizes: Mapping[str, int]) -> Iterator[list[schema.File]]:
    nbytes = np.array([sizes.get(file.path, file.most_bytes) for file in files], np.int64)
    for start, stop in split_by_cost(np.maximum(nbytes, _LEAST_BYTES), _BATCH_BYTES):
        yield list(files[start:stop])


def check_files(target: Target, files: Sequence[schema.File]) -> list[str]:
    """Read files and say what is wrong with each (task)."""
    # one byte more than a file may have tells whether it is too long
    fetched = target.fetch({file.path: file.most_bytes + 1 for file in files})
    found = []
    for file in files:
        try:
            wrong = faults.of_values(file, _pieces(target, file, fetched.pop(file.path)))
        except ExportError as error:
            found.append(_plainly(target, error))
        else:
            found += [f"{file.path} {fault}" for fault in wrong]
    return found


def check_edges(target: Target, edges: schema.Edges) -> list[str]:
    """Read the edges, some at a time, and say what is wrong with them (task)."""
    files = list(edges.files())
    fetched = target.fetch({file.path: file.most_bytes + 1 for file in files})
    try:
        pieces = zip(*(_pieces(target, file, fetched[file.path]) for file in files), strict=True)
        found = list(faults.of_edges(edges, pieces))
    except ExportError as error:
        return [_plainly(target, error)]
    return [f"{names.CONNECTIVITY_DIR}: the edges {fault}" for fault in found]


def _pieces(target: Target, file: schema.File, data: bytes | Exception) -> Iterator[Array]:
    try:
        yield from file.pieces(content_of(target, file.path, data))
    except DamageError as error:
        raise ExportError(f"{target.url}/{file.path} {error}.") from error


def _plainly(target: Target, error: ExportError) -> str:
    return str(error).removeprefix(f"{target.url}/").rstrip(".")
