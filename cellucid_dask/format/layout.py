"""Which files an export may contain, in which order they are published, which may be removed.

Payloads are written first, in any order. Then every other file appears as a whole, one after
another. A reader that looks for the identity therefore finds a complete export or none, and
one that looks for ``obs_manifest.json``, as the viewer does, finds none before every binary
file exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cellucid_dask.format import names

# In the order of publication. They are withdrawn in the reverse order.
DOCUMENTS = (
    names.VAR_MANIFEST, names.CONNECTIVITY_MANIFEST, names.OBS_MANIFEST, names.IDENTITY,
)  # fmt: skip

_VECTOR, _ARRAY = r"(f32|u8|u16)(\.gz)?", r"bin(\.gz)?"
# Binary files, which documents name: patterns of their names by folder.
_PAYLOADS = {
    "": rf"points_[123]d\.{_ARRAY}",
    names.VAR_DIR: rf"[^/]+\.values\.{_VECTOR}",
    names.OBS_DIR: rf"[^/]+\.(values|codes|outliers)\.{_VECTOR}",
    names.CONNECTIVITY_DIR: rf"edges\.(src|dst)\.{_ARRAY}",
    names.VECTORS_DIR: rf"[^/]+_[123]d\.{_ARRAY}",
}
# Optional files, which no document names: patterns of their paths. Other readers ignore them,
# and they do not count when two exports are compared.
_NAMES = (r"aliases\.json", r"cells\.json(\.gz)?")  # of genes and of cells
_CHECKSUMS = r"checksums\.sha256"
_PAGE = (r"index\.html", r"_page/[^/]+/[^/]+")

FOLDERS = tuple(folder for folder in _PAYLOADS if folder)


def in_publication_order(files: Iterable[str]) -> list[str]:
    """Sort the files that follow the payloads.

    Parameters
    ----------
    files
        Documents and extras, by path relative to the export.

    Returns
    -------
    list of str
        The documents in their order, extras just before the identity.
    """
    given = set(files)
    extras = sorted(given.difference(DOCUMENTS))
    return [name for name in (*DOCUMENTS[:-1], *extras, DOCUMENTS[-1]) if name in given]


def is_removable(path: str) -> bool:
    """Whether a path, relative to the export, is that of a payload, a table of names or checksums.

    A new export removes such files of an older one; files of any other name are left alone.
    """
    folder, _, name = path.rpartition("/")
    is_payload = folder in _PAYLOADS and re.fullmatch(_PAYLOADS[folder], name) is not None
    return is_payload or any(re.fullmatch(pattern, path) for pattern in (*_NAMES, _CHECKSUMS))


def is_of_genes(path: str) -> bool:
    """Whether a path, relative to the export, is replaced when genes are added to the export."""
    return path.startswith(f"{names.VAR_DIR}/") or path in (names.VAR_MANIFEST, names.ALIASES)


def is_extra(path: str) -> bool:
    """Whether a path, relative to the export, is that of a file which no document names."""
    return any(re.fullmatch(pattern, path) for pattern in (*_NAMES, _CHECKSUMS, *_PAGE))
