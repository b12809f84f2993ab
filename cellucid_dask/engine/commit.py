"""What a target contains before a run, and the removal of what an older export left there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cellucid_dask.engine import resume
from cellucid_dask.errors import RequestError
from cellucid_dask.format import checksums, layout, manifests, names, parse
from cellucid_dask.format.decode import DamageError
from cellucid_dask.output import FORMATS, output_of
from cellucid_dask.page import INDEX
from cellucid_dask.page.publish import read_index
from cellucid_dask.request.settings import Settings
from cellucid_dask.store.document import DocumentError, parse_json
from cellucid_dask.store.lease import Lease, acquire_lease, refuse_if_leased
from cellucid_dask.store.names import check_names
from cellucid_dask.store.preflight import check_apart, check_reachable, check_writable
from cellucid_dask.store.target import RUN_DIR, Target
from cellucid_dask.types import Json

if TYPE_CHECKING:
    from cellucid_dask.request.resolve import Request


@dataclass(frozen=True)
class TargetState:
    """What a target contains before the run.

    Attributes
    ----------
    identity
        Of the export to which only genes are added, if there is one.
    begun
        Whether an interrupted run of the same export is to be resumed.
    checksums
        Of the files of that export, by path; ``None`` if there is none, or it has none.
    complete
        Whether there is nothing to resume: an export is complete, of this request or another.
    """

    identity: Json | None
    begun: bool
    checksums: dict[str, str] | None = None
    complete: bool = False


def check_target(target: Target, request: Request) -> TargetState:
    """Find out whether the run may write to a target, before any work.

    Raises
    ------
    RequestError
        It cannot be reached, it is not apart from the source, another run is writing to it, or
        as `check` does.
    """
    check_apart(target, getattr(request.source, "location", None))  # of a source in files
    check_reachable(target)
    check_names(target, output_of(request.settings.format).paths(request))
    refuse_if_leased(target)
    state = check(target, request)
    if state.complete and (target.files(RUN_DIR) or target.folders(RUN_DIR)):
        return replace(state, complete=False)  # `claim` clears what a killed run left, then looks
    return state


@contextmanager
def claim(target: Target, request: Request) -> Iterator[tuple[Lease, TargetState]]:
    """Keep a target for this run for as long as the block runs.

    Yields
    ------
    tuple
        The lease; and what the target contains now that no other run can change it.

    Raises
    ------
    RequestError
        It cannot be written to, or as `check_target` does.
    """
    check_writable(target)
    with acquire_lease(target) as lease:
        yield lease, check(target, request)


def check(target: Target, request: Request) -> TargetState:
    """Find out what a target contains, and whether the run may write there.

    Raises
    ------
    RequestError
        The target contains an export already, or an interrupted one that is not this, or one
        to which these genes cannot be added.
    """
    settings, existing = request.settings, target.names()
    _check_format(target, settings, existing)
    if settings.page and not settings.genes_only and INDEX in existing:
        read_index(target)
    begun = False
    if settings.resume:
        begun = resume.check_same(target, request)
    elif not settings.force and resume.was_interrupted(target):
        raise RequestError(
            f"{target} contains an interrupted export: continue with --resume, or start "
            "again with --force."
        )
    output = output_of(settings.format)
    is_announced = output.announced(existing, genes_only=settings.genes_only)
    if settings.resume and not begun and is_announced:
        output.check(target)
        return TargetState(None, begun, complete=True)
    if settings.genes_only and names.IDENTITY in existing:
        if names.VAR_MANIFEST in existing and not settings.force and not begun:
            raise RequestError(f"{target} has genes already: pass --force to replace them.")
        identity = _joinable(target, settings, request.source.n_cells)
        return TargetState(identity, begun, _other_checksums(target))
    documents = sorted(existing.intersection(output.documents))
    # without its announcement, which Snakemake removes before it makes a file again, it is not one
    withdrawn = settings.resume and names.CHECKSUMS in existing
    withdrawn = withdrawn and output.documents[-1] not in existing
    if documents and not (settings.force or begun or withdrawn):
        remedy = "there is nothing to resume" if settings.resume else "choose another location"
        raise RequestError(
            f"{target} already contains an export ({documents[0]}): {remedy}, or pass "
            "--force to replace it."
        )
    if documents and not resume.was_interrupted(target):
        output.check(target)
    return TargetState(None, begun)


def _check_format(target: Target, settings: Settings, existing: set[str]) -> None:
    if not existing:
        return  # and no other format is imported
    for name in FORMATS:
        if name != settings.format and not existing.isdisjoint(output_of(name).documents):
            raise RequestError(
                f"{target} already contains an export as {name}: choose another location for "
                f"{settings.format}."
            )


def _joinable(target: Target, settings: Settings, n_cells: int) -> Json:
    try:
        identity = parse_json(target.read(names.IDENTITY) or b"")
        embedded = parse.embeddings(identity)
    except (DocumentError, DamageError):
        raise RequestError(
            f"{target}/{names.IDENTITY} cannot be read: export everything with --force."
        ) from None
    if embedded.n_cells != n_cells:
        raise RequestError(
            f"{target} holds {embedded.n_cells:,} cells, the source {n_cells:,}: genes can only be "
            "added to an export of the same cells."
        )
    compressed = embedded.level is not None
    if compressed != (settings.compression is not None):
        raise RequestError(
            f"{target} is {'' if compressed else 'not '}compressed: genes that are added "
            f"to it must be {'too' if compressed else 'uncompressed, --compression none'}."
        )
    return checksums.unsigned(identity)


def _other_checksums(target: Target) -> dict[str, str] | None:
    """Read the checksums of all files of an export but those of its genes."""
    data = target.read(names.CHECKSUMS)
    if data is None:
        return None
    try:
        of_files = checksums.parse(data)
    except DamageError as error:
        raise RequestError(
            f"{target}/{names.CHECKSUMS} {error}: export everything with --force."
        ) from None
    return {path: each for path, each in of_files.items() if not layout.is_of_genes(path)}


def clear(target: Target, settings: Settings, state: TargetState) -> None:
    """Withdraw the documents of an older export before any of its files is replaced.

    Parameters
    ----------
    target
        Where it is.
    settings
        Of the run.
    state
        What it contains. If genes are added to an export, only the genes are withdrawn, so that a
        complete export without genes remains.
    """
    existing, identity = target.names(), state.identity
    if identity is None:
        for name in reversed(output_of(settings.format).documents):
            if name in existing:
                target.remove([name])
    elif names.VAR_MANIFEST in existing:
        identity["stats"]["n_genes"] = 0
        encoded = manifests.to_json(identity, indent=2)
        if state.checksums is not None:
            text = checksums.to_text(state.checksums)
            target.publish(names.CHECKSUMS, text)
            encoded = checksums.signed(identity, text)
        target.publish(names.IDENTITY, encoded)
        target.remove([names.VAR_MANIFEST])
    if settings.force and not target.is_local:  # what does not exist is created by one request
        output = output_of(settings.format)
        target.remove(output.left_over(target, set(), genes_only=settings.genes_only))
