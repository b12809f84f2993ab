"""The last steps of an export: its documents appear in order, once all they name is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from cellucid_dask.display import first_few
from cellucid_dask.engine.commit import TargetState, remove_left_over
from cellucid_dask.engine.intact import altered
from cellucid_dask.errors import ExportError
from cellucid_dask.format import checksums, layout, names, parse
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.invariants import disagreements
from cellucid_dask.format.manifests import to_json
from cellucid_dask.page.publish import publish_page, remove_page
from cellucid_dask.request.settings import Settings
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json


def publish(
    target: Target,
    settings: Settings,
    documents: dict[str, Json],
    payloads: Mapping[str, FileDigest],
    state: TargetState,
    check: Callable[[], None],
) -> None:
    """Publish the documents, the identity last, then remove what an older export left.

    Parameters
    ----------
    target
        It contains every binary file already.
    settings
        Of the export.
    documents
        Content by name.
    payloads
        Digests of the binary files, by path.
    state
        What the target contained before the run.
    check
        Raises if the export must not be published; called before the first document and the last.

    Raises
    ------
    ExportError
        The documents are damaged, or a file of the target changed while the export ran.
    """
    encoded = _encode(documents, payloads, state)
    _check_documents(encoded, set(payloads))
    if not settings.genes_only:
        (partial(publish_page, kind="export") if settings.page else remove_page)(target)
    check()
    *first, last = layout.in_publication_order(encoded)
    for name in first:
        target.publish(name, encoded[name])
    _look(target, {**payloads, **{name: FileDigest.of(encoded[name]) for name in first}})
    check()
    target.flush()
    target.publish(last, encoded[last])
    remove_left_over(target, {*encoded, *payloads}, genes_only=settings.genes_only)


def _encode(
    documents: dict[str, Json], payloads: Mapping[str, FileDigest], state: TargetState
) -> dict[str, bytes]:
    """Encode documents and the checksums of all files, in whose digest the identity is signed."""
    encoded = {
        name: to_json(document) for name, document in documents.items() if name != names.IDENTITY
    }
    identity = documents.get(names.IDENTITY)
    if state.identity is not None and state.checksums is None:  # those of other files are unknown
        return encoded | {names.IDENTITY: to_json(documents[names.IDENTITY], indent=2)}
    sums = (state.checksums or {}) | {name: each.sha256 for name, each in payloads.items()}
    sums |= {name: checksums.sha256(data) for name, data in encoded.items()}
    encoded[names.CHECKSUMS] = checksums.to_text(sums)
    if identity is not None:
        encoded[names.IDENTITY] = checksums.signed(identity, encoded[names.CHECKSUMS])
    return encoded


def _look(target: Target, files: Mapping[str, FileDigest]) -> None:
    """Make sure that the target still contains what was written there."""
    if wrong := altered(target, files):
        raise ExportError(
            f"{len(wrong)} files of {target} changed or went missing while the export ran "
            f"({first_few(wrong, 3)}), so it is not published: find out what writes there, and go "
            "on with --resume."
        )


def _check_documents(encoded: Mapping[str, bytes], payloads: set[str]) -> None:
    """Check documents as `verify` does, before any of them can be read by others."""
    documents = parse.documents(encoded)
    findings = list(documents.damage)
    if names.OBS_MANIFEST in encoded:
        findings += disagreements(documents)
        files = documents.files()
    else:  # genes alone, beside the other documents of an export that may exist
        files = list(documents.genes.files()) if documents.genes else []
    unnamed = {file.path for file in files} ^ payloads
    findings += [f"{path} is not in the documents" for path in unnamed if not layout.is_extra(path)]
    if findings:
        raise ExportError(
            f"The export would be damaged ({first_few(findings, 3)}), so its documents are not "
            "published: report this as a bug, with the output of --debug."
        )
