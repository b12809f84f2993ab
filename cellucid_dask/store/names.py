"""Names of files that a location cannot keep, or cannot keep apart."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cellucid_dask.display import abbreviated, first_few
from cellucid_dask.errors import RequestError
from cellucid_dask.store.location import Location

_MAX_KEY = 1024  # bytes of a key in S3, GCS and Azure


def check_names(location: Location, names: Iterable[str]) -> None:
    """Check that a location can keep files of these names.

    Parameters
    ----------
    location
        A folder, which need not exist, or a prefix.
    names
        Paths relative to it.

    Raises
    ------
    RequestError
        A name is too long for it, or two differ by letter case only where that is no difference.
    """
    paths = list(names)
    longest = max(paths, key=_length, default="")
    if not location.is_local:
        if len(location.path(longest).encode()) > _MAX_KEY:
            raise RequestError(_too_long(location, longest))
        return
    folder = _existing(Path(location.url).absolute())
    with_folder = os.fsencode(os.path.abspath(location.path(longest)))  # noqa: PTH100  not resolved
    try:
        fits = _length(longest) <= os.pathconf(folder, "PC_NAME_MAX")
        fits = fits and len(with_folder) < os.pathconf(folder, "PC_PATH_MAX")
    except (OSError, ValueError, AttributeError):  # the file system, or Windows, does not say
        fits = True
    if not fits:
        raise RequestError(_too_long(location, longest))
    if ignores_case(folder):
        _check_case(location, paths)


def ignores_case(folder: Path) -> bool:
    """Whether a folder is found by a name of other letter case, as on most Macs."""
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    try:
        return other.name != folder.name and other.samefile(folder)
    except OSError:
        return False


def _check_case(location: Location, paths: Iterable[str]) -> None:
    first: dict[str, str] = {}
    pairs = [
        f"{earlier} and {path}"
        for path in paths
        if (earlier := first.setdefault(path.lower(), path)) != path
    ]
    if pairs:
        raise RequestError(
            f"{location} does not tell letter case apart, so {len(pairs)} pairs of files would "
            f"overwrite each other ({first_few(pairs, 2)}): rename one, or export to another disk "
            "or a bucket."
        )


def _existing(folder: Path) -> Path:
    exists = os.path.exists  # not of Path, which may raise that a path is too long
    return next(each for each in (folder, *folder.parents) if exists(each))


def _length(path: str) -> int:
    return len(os.fsencode(path.rpartition("/")[2]))


def _too_long(location: Location, path: str) -> str:
    return (
        f"{location} cannot keep a file named {abbreviated(path)}: choose a target with a "
        "shorter path, rename the gene or column, or pass --shorten-gene-names."
    )
