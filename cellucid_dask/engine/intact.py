"""Comparing the files of a target with what was written to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.store.target import Target

_THREADS, _BATCH = 2, 64  # hashing and reading do not hold Python's lock
_READ_BYTES = 2**22


def gene_digests(summary: GeneSummary, files: Mapping[int, str]) -> dict[str, FileDigest]:
    """Return the digests of the files of genes by path; `files` maps columns to their own files."""
    own = summary.take(np.flatnonzero(summary.nbytes))
    rows = zip(
        own.column.tolist(), own.nbytes.tolist(), own.sha256.tolist(), own.md5.tolist(),
        strict=True,
    )  # fmt: skip
    digests = {
        files[column]: FileDigest(nbytes, sha256.decode(), md5.decode())
        for column, nbytes, sha256, md5 in rows
    }
    return digests | {path: FileDigest(*each) for path, each in summary.shared.items()}


def altered(target: Target, files: Mapping[str, FileDigest]) -> list[str]:
    """Return the files that are missing, or are not what was written.

    Local files are read; of a store's the sizes are compared, and the MD5 where it reports one.

    Parameters
    ----------
    target
        Where they are.
    files
        Digests by path, relative to the target.
    """
    if not target.is_local:
        return _altered_objects(target, files)
    items = list(files.items())
    batches = [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as pool:
        same = chain.from_iterable(pool.map(lambda batch: _are_same(target.url, batch), batches))
        return [name for name, unchanged in zip(files, same, strict=True) if not unchanged]


def _are_same(folder: str, files: Sequence[tuple[str, FileDigest]]) -> list[bool]:
    return [_is_same(f"{folder}/{name}", digest) for name, digest in files]


def _is_same(path: str, digest: FileDigest) -> bool:
    """Compare a file with its digest; most are small, and read by one call of the system."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if os.fstat(handle).st_size != digest.nbytes:
            return False
        found, left = hashlib.sha256(), digest.nbytes
        while left > 0 and (data := os.read(handle, min(left, _READ_BYTES))):
            found.update(data)
            left -= len(data)
        return found.hexdigest() == digest.sha256
    except OSError:
        return False
    finally:
        os.close(handle)


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
        if digest.md5
        and len(found[name][1] or "") == len(digest.md5)
        and found[name][1] != digest.md5
    }
    comparable = sum(bool(digest.md5) for digest in files.values())
    if len(of_other_md5) == comparable:
        of_other_md5 = set()
    return [name for name in files if name in of_other_size or name in of_other_md5]
