"""How an export comes to be: payloads, then manifests, then the identity, last.

A reader that looks for the identity sees a whole export or none; one that looks for
``obs_manifest.json``, as the viewer does, sees none before every binary is there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellucid_dask.engine import resume
from cellucid_dask.errors import RequestError
from cellucid_dask.format import manifests, names
from cellucid_dask.request.settings import Settings
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json

if TYPE_CHECKING:
    from cellucid_dask.request.resolve import Request

_MANIFESTS = (
    names.IDENTITY, names.OBS_MANIFEST, names.VAR_MANIFEST, names.CONNECTIVITY_MANIFEST,
)  # fmt: skip
_FOLDERS = (names.VAR_DIR, names.OBS_DIR, names.CONNECTIVITY_DIR, names.VECTORS_DIR)
# Only what an exporter writes may ever be removed.
_PAYLOAD = re.compile(
    r"points_[123]d\.bin(\.gz)?"
    r"|var/[^/]+\.values\.(f32|u8|u16)(\.gz)?"
    r"|obs/[^/]+\.(values|codes|outliers)\.(f32|u8|u16)(\.gz)?"
    r"|connectivity/edges\.(src|dst)\.bin(\.gz)?"
    r"|vectors/[^/]+_[123]d\.bin(\.gz)?"
)


@dataclass(frozen=True)
class TargetState:
    """What a target holds before the run.

    Attributes
    ----------
    identity
        Of the export that genes alone are added to, if there is one.
    begun
        Whether an interrupted run of this very export is to be resumed.
    """

    identity: Json | None
    begun: bool


def check(target: Target, request: Request) -> TargetState:
    """Refuse a target that holds an export already, or an interrupted one that is not this."""
    settings, found = request.settings, target.names()
    begun = False
    if settings.resume:
        begun = resume.check_same(target, request)
    elif not settings.force and resume.was_interrupted(target):
        raise RequestError(
            f"{target.url} holds an export that was interrupted: go on with --resume, or start "
            "anew with --force."
        )
    if settings.genes_only and names.IDENTITY in found:
        if names.VAR_MANIFEST in found and not settings.force and not begun:
            raise RequestError(f"{target.url} has genes already: pass --force to replace them.")
        return TargetState(_joinable(target, settings, request.source.n_cells), begun)
    held = sorted(name for name in found if name in _MANIFESTS)
    if held and not settings.force and not begun:
        remedy = "there is nothing to resume" if settings.resume else "choose another place"
        raise RequestError(
            f"{target.url} already holds an export ({held[0]}): {remedy}, or pass "
            "--force to replace it."
        )
    return TargetState(None, begun)


def _joinable(target: Target, settings: Settings, n_cells: int) -> Json:
    try:
        identity: Json = json.loads(target.read(names.IDENTITY) or b"")
        there = identity["stats"]["n_cells"]
        compressed = identity["export_settings"]["compression"] is not None
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"{target.url}/{names.IDENTITY} cannot be read: export everything with --force."
        ) from None
    if there != n_cells:
        raise RequestError(
            f"{target.url} holds {there:,} cells, the source {n_cells:,}: genes can only be "
            "added to an export of the same cells."
        )
    if compressed != (settings.compression is not None):
        raise RequestError(
            f"{target.url} is {'' if compressed else 'not '}compressed: genes that are added "
            f"to it must be {'too' if compressed else 'uncompressed, --compression none'}."
        )
    return identity


def clear(target: Target, identity: Json | None) -> None:
    """Take an older export out of sight before any of its files is replaced."""
    found = target.names()
    stale = [name for name in _MANIFESTS if name in found]
    if identity is None:
        for name in stale:  # one after another: the identity goes first
            target.remove([name])
    elif names.VAR_MANIFEST in stale:  # what is left is a whole export, without genes
        identity["stats"]["n_genes"] = 0
        target.publish(names.IDENTITY, manifests.to_json(identity, indent=2))
        target.remove([names.VAR_MANIFEST])


def remove_left_over(target: Target, files: set[str], *, genes_only: bool) -> None:
    """Remove the files of an older export that the new one does not have."""
    folders = (names.VAR_DIR,) if genes_only else _FOLDERS
    there = target.names(*folders)
    if genes_only:
        there = {name for name in there if name.startswith(f"{names.VAR_DIR}/")}
    target.remove(sorted(name for name in there - files if _PAYLOAD.fullmatch(name)))
