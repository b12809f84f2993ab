"""The documents of an export as they are published: encoded, signed and checked."""

from __future__ import annotations

from collections.abc import Mapping

from cellucid_dask.display import first_few
from cellucid_dask.errors import ExportError
from cellucid_dask.format import checksums, layout, names, parse
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.invariants import disagreements
from cellucid_dask.format.manifests import to_json
from cellucid_dask.types import Json


def encode_documents(
    documents: Mapping[str, Json],
    payloads: Mapping[str, FileDigest],
    *,
    joined: bool,
    others: Mapping[str, str] | None,
) -> dict[str, bytes]:
    """Encode documents and the checksums of all files, in whose digest the identity is signed.

    Parameters
    ----------
    documents
        Content by name.
    payloads
        Digests of the binary files, by path.
    joined
        Whether genes were added to an export.
    others
        SHA-256 of that export's other files, by path; None if they are unknown.

    Returns
    -------
    dict
        Content by name, in the order of publication.

    Raises
    ------
    ExportError
        `verify` would find them damaged.
    """
    encoded = {
        name: to_json(document) for name, document in documents.items() if name != names.IDENTITY
    }
    identity = documents.get(names.IDENTITY)
    if joined and others is None:
        encoded[names.IDENTITY] = to_json(documents[names.IDENTITY], indent=2)
    else:
        sums = {**(others or {}), **{name: each.sha256 for name, each in payloads.items()}}
        sums |= {name: checksums.sha256(data) for name, data in encoded.items()}
        encoded[names.CHECKSUMS] = checksums.to_text(sums)
        if identity is not None:
            encoded[names.IDENTITY] = checksums.signed(identity, encoded[names.CHECKSUMS])
    _check(encoded, set(payloads))
    return {name: encoded[name] for name in layout.in_publication_order(encoded)}


def _check(encoded: Mapping[str, bytes], payloads: set[str]) -> None:
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
