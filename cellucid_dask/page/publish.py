"""Writing the page beside an export or a catalog, and removing it."""

from __future__ import annotations

from cellucid_dask.errors import RequestError
from cellucid_dask.page import INDEX, Kind, is_page, page_files
from cellucid_dask.store.target import Target

_FOLDER = "_page"


def read_index(target: Target) -> bytes | None:
    """Read the page's ``index.html``, if there is one; refuse one of somebody else.

    Raises
    ------
    RequestError
        The page would replace it.
    """
    index = target.read(INDEX)
    if index is not None and not is_page(index):
        raise RequestError(
            f"{target} has an {INDEX} of its own, which the page would replace: choose another "
            "folder, or omit the page with --no-page."
        )
    return index


def publish_page(target: Target, kind: Kind) -> None:
    """Write the page, or what of it is missing or changed, and remove another version's files.

    ``index.html`` is written after the files that it names, which lie in a folder of their
    version: a browser gets the one page or the other, and never some of both.

    Raises
    ------
    RequestError
        As `read_index` does.
    """
    existing = read_index(target)
    files = page_files(kind)
    index = files.pop(INDEX)
    limits = {name: len(data) for name, data in files.items()}
    stored = {} if existing is None else target.fetch(limits)
    target.put({name: data for name, data in files.items() if stored.get(name) != data})
    if existing != index:
        target.publish(INDEX, index)
    _remove_others(target, set(files))


def remove_page(target: Target) -> None:
    """Remove the page, if there is one of this package."""
    index = target.read(INDEX)
    if index is not None and is_page(index):
        target.remove([INDEX])
        _remove_others(target, set())


def _remove_others(target: Target, kept: set[str]) -> None:
    for version in target.folders(_FOLDER):
        folder = f"{_FOLDER}/{version}"
        names = set(target.files(folder))
        if names.isdisjoint(kept):
            target.remove(sorted(names))
            target.remove_if_empty(folder)
    target.remove_if_empty(_FOLDER)
