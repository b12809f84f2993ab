"""Comparing the files of a target with what was written to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.store.target import Target

_THREADS = 4  # hashing and reading do not hold Python's lock


def gene_digests(summary: GeneSummary, files: Mapping[int, str]) -> dict[str, FileDigest]:
    """Return the digests of genes by path; `files` has the paths by matrix column."""
    rows = zip(
        summary.column.tolist(), summary.nbytes.tolist(), summary.sha256.tolist(),
        summary.md5.tolist(), strict=True,
    )  # fmt: skip
    return {
        files[column]: FileDigest(nbytes, sha256.decode(), md5.decode())
        for column, nbytes, sha256, md5 in rows
    }


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
    with ThreadPoolExecutor(_THREADS) as pool:
        same = pool.map(lambda name: _is_same(Path(target.path(name)), files[name]), files)
        return [name for name, unchanged in zip(files, same, strict=True) if not unchanged]


def _is_same(path: Path, digest: FileDigest) -> bool:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != digest.nbytes:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == digest.sha256
    except OSError:
        return False


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
