"""What an interrupted run leaves for the next: a record of what it was, receipts of what it did.

The record says from what and how the run was made, each only as a digest. Every encoding
task leaves a receipt: its genes' files with their sizes and what the manifest needs of
them. A run that resumes takes the genes whose files are as their receipts say for done.
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
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.errors import RequestError
from cellucid_dask.request.settings import RUN_OPTIONS, Settings
from cellucid_dask.store.target import RUN_DIR, Target
from cellucid_dask.types import Array

if TYPE_CHECKING:
    from cellucid_dask.request.resolve import Request

_RECORD = f"{RUN_DIR}/run.json"
_RECEIPTS = f"{RUN_DIR}/receipts"

Record = dict[str, Any]


def record_of(request: Request) -> Record:
    """Say what a run is made of, so that another can tell whether it is the same."""
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
    """Whether a run into the target has begun and not ended."""
    return target.read(_RECORD) is not None


def check_same(target: Target, request: Request) -> bool:
    """Make sure that what was interrupted, if anything, is this very export.

    Returns
    -------
    bool
        Whether there is something to resume.

    Raises
    ------
    RequestError
        It was another source, other settings or another version; says which.
    """
    data = target.read(_RECORD)
    if data is None:
        return False
    try:
        old = json.loads(data)
        version, source, settings = old["version"], old["source"], dict(old["settings"])
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"What a run left in {target.url} cannot be read: start anew with --force."
        ) from None
    new = record_of(request)
    other = [name for name, token in new["settings"].items() if settings.get(name) != token]
    if version != new["version"]:
        different = f"by cellucid-dask {version}, and this is {new['version']}"
    elif other:
        different = f"with another {', '.join(other[:3])}"
    elif source != new["source"]:
        different = "from another source, or its file has changed since"
    else:
        return True
    raise RequestError(
        f"The export in {target.url} was begun {different}: resume it as it was, or start anew "
        "with --force."
    )


def begin(target: Target, request: Request, *, anew: bool) -> None:
    """Write down what this run is; starting anew, drop the receipts of another."""
    if anew:
        target.remove(target.files(_RECEIPTS))
    target.put({_RECORD: json.dumps(record_of(request)).encode()})


def end(target: Target) -> None:
    """Remove the record and the receipts of a run that is complete."""
    target.remove([*target.files(_RECEIPTS), *target.files(RUN_DIR)])
    for folder in (_RECEIPTS, RUN_DIR):
        target.remove_if_empty(folder)


def write_receipt(target: Target, files: Sequence[str], summary: GeneSummary) -> None:
    """Note that the files of some genes are in the target (in a task).

    Parameters
    ----------
    files
        Names of the genes' files, in the order of the summary.
    summary
        What became of them.
    """
    receipt = {"files": list(files), **summary.to_lists()}
    name = hashlib.sha256("\n".join(files).encode()).hexdigest()[:24]
    target.put({f"{_RECEIPTS}/{name}.json": json.dumps(receipt).encode()})


def finished(target: Target, files: Mapping[int, str]) -> GeneSummary:
    """Find the genes that an interrupted run has finished.

    Parameters
    ----------
    files
        Paths of the files of all genes, by matrix column.

    Returns
    -------
    GeneSummary
        Of those whose file is there in the size, and where the store tells with the
        checksum, that a receipt names.
    """
    column_of = {file: column for column, file in files.items()}
    summaries = [GeneSummary.empty()]
    for data in target.read_many(sorted(target.files(_RECEIPTS))):
        try:
            receipt = json.loads(data)
            genes = np.array([column_of.get(name, -1) for name in receipt["files"]], np.int64)
            summaries.append(GeneSummary.from_lists(receipt, genes))
        except (ValueError, KeyError, TypeError):
            continue  # cut short when its run was killed
    found = GeneSummary.joined(summaries)
    _, first = np.unique(found.column, return_index=True)
    found = found.take(first[found.column[first] >= 0])
    paths = [files[column] for column in found.column.tolist()]
    return found.take(_intact(target, paths, found))


def _intact(target: Target, files: Sequence[str], summary: GeneSummary) -> Array:
    """Tell which genes' files are what their receipts say."""
    if not files:
        return np.zeros(0, bool)
    there = target.files(files[0].rpartition("/")[0])
    stored = [there.get(file, (-1, None)) for file in files]
    sized = np.array([nbytes for nbytes, _ in stored]) == summary.nbytes
    same: Array = sized & (
        np.array([(md5 or "").encode() for _, md5 in stored], "S32") == summary.md5
    )
    # Stores that encrypt tell checksums of something else: then not a single one fits.
    return same if same.any() else sized
