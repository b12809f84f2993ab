"""The page that shows an export in a browser: its files, ready to be written beside the export.

``static/`` is the page as a browser gets it: plain HTML, CSS and ES modules, no build step. Who
owns what:

fetch.js
    Bytes of the export: inside its folder, no more than announced. ``Problem`` is an error in
    plain words.
export.js
    ``Export``: the documents, checked, and columns on demand: ``points(dim)``,
    ``column("gene" | "obs", key)``.
zarr.js, store.js
    ``open``: the same of an export as cellucid-zarr, and the arrays of a Zarr store; loaded for
    such an export only.
state.js
    ``State``: the view as the address has it. ``set(patch)`` changes it; "change" tells which
    keys did.
view.js
    ``View``: from the state to the picture. "shown" tells what is shown: columns, counts,
    summary, range.
picture.js, frames.js, pass.js, shaders.js, camera.js, geometry.js, colors.js
    ``Picture``: one canvas, one or more panels of shared positions and camera; ``drawn()``
    waits for it.
stats.js, worker.js; values.js, measures.js
    ``Stats.ask(what, about)``: counting over cells in a worker; a ``Column`` is sent once, by
    itself. The last two come when they are first asked: a histogram and the cell under the
    pointer; statistics of groups, the selection, lines and arrows.
analysis.js; spread.js, dots.js, selection.js; plot.js, names.js
    The region of analyses, one module each, loaded when it is first opened: ``create(app)``
    gives an element and ``update(compared)``.
lasso.js, panels.js, overlays.js, bar.js, save.js, hover.js, about.js
    Loaded when the address or the reader first asks for one (``others`` of main.js):
    ``create(app)`` gives ``press``, what its button does, and ``update``, what it shows with the
    cells. These are ``View.parts``, awaited in order before the page is ready.
main.js
    Ties them; everything else is one control of the page, given the same ``app`` object.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Literal

__all__ = ["INDEX", "Kind", "files_named_by", "is_page", "page_files"]

INDEX = "index.html"
# What lies beside it: an export as compact_v1, several of them, or one as cellucid-zarr.
Kind = Literal["export", "catalog", "zarr"]
_MARK = b'<meta name="cellucid-dask"'


def page_files(kind: Kind) -> dict[str, bytes]:
    """Return the files of the page by their path beside an export or a catalog.

    Parameters
    ----------
    kind
        What lies beside ``index.html``: ``dataset_identity.json`` of one export,
        ``datasets.json`` of several, or ``.zmetadata`` of a Zarr store. The page asks for that
        first.

    Returns
    -------
    dict
        ``index.html`` and ``_page/<version>/<name>``; the version changes with any of them.
    """
    static = {
        entry.name: entry.read_bytes()
        for entry in sorted(files(__name__).joinpath("static").iterdir(), key=lambda e: e.name)
        if entry.is_file()
    }
    version = hashlib.sha256(b"".join(static.values())).hexdigest()[:12]
    index = static.pop("index.html").replace(b"{{version}}", version.encode())
    page = {f"_page/{version}/{name}": data for name, data in static.items()}
    return {**page, "index.html": index.replace(b"{{kind}}", kind.encode())}


def is_page(index: bytes) -> bool:
    """Whether an ``index.html`` is that of a page of this package, of whatever version."""
    return _MARK in index


def files_named_by(index: bytes) -> set[str]:
    """Return the paths of the page's own files that an ``index.html`` of it refers to."""
    return set(re.findall(r'"(?:\./)?(_page/[^"]+)"', index.decode(errors="replace")))
