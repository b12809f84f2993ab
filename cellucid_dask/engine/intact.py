"""Comparing the files of a target with what was written to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.kernel.files import file_checksums
from cellucid_dask.store.target import Target

_THREADS, _BATCH = 2, 256  # the kernel does not hold Python's lock


def gene_digests(summary: GeneSummary, files: Mapping[int, str]) -> dict[str, FileDigest]:
    """Return the digests of the files of genes by path; `files` maps columns to their own files."""
    own = summary.take(np.flatnonzero(summary.nbytes))
    rows = zip(
        own.column.tolist(), own.nbytes.tolist(), own.sha256.tolist(), own.tag.tolist(),
        strict=True,
    )  # fmt: skip
    digests = {
        files[column]: FileDigest(nbytes, sha256.decode(), tag.decode())
        for column, nbytes, sha256, tag in rows
    }
    return digests | {path: FileDigest(*each) for path, each in summary.shared.items()}


def altered(target: Target, files: Mapping[str, FileDigest]) -> list[str]:
    """Return the files that are missing, or are not what was written.

    Local files are read; of objects the sizes are compared, and the MD5 where the store reports it.

    Parameters
    ----------
    target
        Where they are.
    files
        Digests by path, relative to the target.
    """
    if not target.is_local:
        return _altered_objects(target, files)
    names = list(files)
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as pool:
        wrong = pool.map(lambda batch: _altered_files(target, batch, files), batches)
        return list(chain.from_iterable(wrong))


def _altered_files(
    target: Target, names: Sequence[str], files: Mapping[str, FileDigest]
) -> list[str]:
    wrong = []
    while names:
        paths = [target.path(name) for name in names]
        found = file_checksums(paths, [files[name].nbytes for name in names])
        pairs = zip(names, found, strict=False)
        wrong += [name for name, checksum in pairs if checksum != files[name].tag]
        wrong += names[len(found) : len(found) + 1]  # it is not there, or of another size
        names = names[len(found) + 1 :]
    return wrong


def _altered_objects(target: Target, files: Mapping[str, FileDigest]) -> list[str]:
    folders = {name.rpartition("/")[0] for name in files}
    listing = {name: entry for folder in folders for name, entry in target.files(folder).items()}
    found = {name: listing.get(name, (-1, None)) for name in files}
    of_other_size = {name for name in files if found[name][0] != files[name].nbytes}
    # An ETag is the MD5 of an object that was put whole and not encrypted: where none matches, it
    # is something else.
    of_other_md5 = {
        name
        for name, digest in files.items()
        if digest.tag
        and len(found[name][1] or "") == len(digest.tag)
        and found[name][1] != digest.tag
    }
    comparable = sum(bool(digest.tag) for digest in files.values())
    if len(of_other_md5) == comparable:
        of_other_md5 = set()
    return [name for name in files if name in of_other_size or name in of_other_md5]
