"""Resuming an interrupted run: its record, and the receipts of its tasks.

The record identifies source and settings, each only by a digest. Every encode task leaves a
receipt: the files of its genes, their sizes, and what the manifest needs of them. A run that
resumes skips the genes whose files match their receipts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize

from cellucid_dask._version import __version__
from cellucid_dask.display import first_few
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.engine.intact import altered, gene_digests
from cellucid_dask.errors import RequestError
from cellucid_dask.output.base import NOTES
from cellucid_dask.request.settings import RUN_OPTIONS, Settings
from cellucid_dask.store.document import parse_json
from cellucid_dask.store.lease import LEASE
from cellucid_dask.store.target import RUN_DIR, Target

if TYPE_CHECKING:
    from cellucid_dask.request.resolve import Request

_RECORD = f"{RUN_DIR}/run.json"
_RECEIPTS = f"{RUN_DIR}/receipts"

Record = dict[str, Any]


def record_of(request: Request) -> Record:
    """Identify source, settings and version, for another run to compare with its own."""
    settings = request.settings
    return {
        "version": __version__,
        "source": request.source_token,
        "settings": {
            each.name: tokenize(getattr(settings, each.name))
            for each in fields(Settings)
            if each.name not in RUN_OPTIONS
        },
    }


def was_interrupted(target: Target) -> bool:
    """Whether a run into the target began and did not end."""
    return target.read(_RECORD) is not None


def check_same(target: Target, request: Request) -> bool:
    """Check that what was interrupted, if anything, is this very export.

    Returns
    -------
    bool
        Whether there is something to resume.

    Raises
    ------
    RequestError
        It had another source, other settings or another version; the message says which.
    """
    data = target.read(_RECORD)
    if data is None:
        return False
    try:
        old = parse_json(data)
        version, source, settings = old["version"], old["source"], dict(old["settings"])
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"The notes of a previous run in {target} cannot be read: start again with --force."
        ) from None
    new = record_of(request)
    other = [name for name, token in new["settings"].items() if settings.get(name) != token]
    if version != new["version"]:
        different = f"by cellucid-dask {version}, but this is {new['version']}"
    elif other:
        different = f"with another {first_few(other, 3)}"
    elif source != new["source"]:
        different = "from another source, or its file has changed since"
    else:
        return True
    raise RequestError(
        f"The export in {target} was started {different}: resume it in the same way, or start "
        "again with --force."
    )


def begin(target: Target, request: Request, *, clean: bool) -> None:
    """Record this run; starting over, drop the receipts of another."""
    if clean:
        target.remove([*target.files(_RECEIPTS), *target.files(NOTES)])
    target.put({_RECORD: json.dumps(record_of(request)).encode()})


def end(target: Target) -> None:
    """Remove the record and the receipts of a run that is complete."""
    left = {*target.files(_RECEIPTS), *target.files(NOTES), *target.files(RUN_DIR)}
    target.remove(sorted(left - {LEASE}))  # the lease is given back last
    for folder in (_RECEIPTS, NOTES):
        target.remove_if_empty(folder)


def write_receipt(target: Target, files: Sequence[str], summary: GeneSummary) -> None:
    """Record that the files of some genes are in the target (in a task).

    Parameters
    ----------
    files
        Names of the genes' files, in the order of the summary.
    summary
        Ranges and sizes of the genes.
    """
    receipt = {"files": list(files), **summary.to_lists()}
    name = hashlib.sha256("\n".join(files).encode()).hexdigest()[:24]
    target.put({f"{_RECEIPTS}/{name}.json": json.dumps(receipt).encode()})


def finished(target: Target, files: Mapping[int, str]) -> GeneSummary:
    """Return the genes that an interrupted run finished.

    Parameters
    ----------
    files
        Paths of the files of all genes, by matrix column.

    Returns
    -------
    GeneSummary
        Of those whose file is what a receipt says, see `altered`.
    """
    column_of = {file: column for column, file in files.items()}
    parts = []
    for data in target.read_many(sorted(target.files(_RECEIPTS))):
        try:
            receipt = parse_json(data)
            genes = np.array([column_of.get(name, -1) for name in receipt["files"]], np.int64)
            part = GeneSummary.from_lists(receipt, genes)
        except (ValueError, KeyError, TypeError, OverflowError):
            continue  # truncated when its run was killed
        parts.append(part.take(np.flatnonzero(genes >= 0)))
    digests = {name: each for part in parts for name, each in gene_digests(part, files).items()}
    wrong = set(altered(target, digests))
    done: set[int] = set()
    kept = [GeneSummary.empty()]
    for part in parts:
        intact = np.array(
            [column not in done and files[column] not in wrong for column in part.column.tolist()],
            bool,
        )
        if part.shared and not (intact.all() and wrong.isdisjoint(part.shared)):
            continue  # the task that writes one of these genes again writes them all
        kept.append(part.take(np.flatnonzero(intact)))
        done.update(kept[-1].column.tolist())
    return GeneSummary.joined(kept)
