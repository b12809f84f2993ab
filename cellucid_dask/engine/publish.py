"""The last steps of an export: its documents appear in order, once all they name is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cellucid_dask.display import first_few
from cellucid_dask.engine.intact import altered
from cellucid_dask.errors import ExportError
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output import output_of
from cellucid_dask.page.publish import publish_page, remove_page
from cellucid_dask.request.settings import Settings
from cellucid_dask.store.target import Target


def publish(
    target: Target,
    settings: Settings,
    documents: Mapping[str, bytes],
    payloads: Mapping[str, FileDigest],
    check: Callable[[], None],
) -> None:
    """Publish the documents in their order, then remove what an older export left.

    Parameters
    ----------
    target
        It contains every binary file already.
    settings
        Of the export.
    documents
        Content by name; the last announces the export.
    payloads
        Digests of the files that are there already, by path.
    check
        Raises if the export must not be published; called before the first document and the last.

    Raises
    ------
    ExportError
        A file of the target changed while the export ran.
    """
    output = output_of(settings.format)
    if not settings.genes_only:
        (partial(publish_page, kind=output.page) if settings.page else remove_page)(target)
    check()
    *first, last = documents
    for name in first:
        target.publish(name, documents[name])
    digests = {name: FileDigest.of(documents[name], target.tag(documents[name])) for name in first}
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(target.flush)  # the disk writes while the files are read
        written = {**payloads, **digests}
        _look(target, written, check)
        flushed.result()
    check()
    target.publish(last, documents[last])
    kept = {*documents, *payloads}
    target.remove(output.left_over(target, kept, genes_only=settings.genes_only))


def _look(target: Target, files: Mapping[str, FileDigest], check: Callable[[], None]) -> None:
    """Make sure that the target still contains what was written there."""
    if wrong := altered(target, files):
        check()  # another run may have written there
        raise ExportError(
            f"{len(wrong)} files of {target} changed or went missing while the export ran "
            f"({first_few(wrong, 3)}), so it is not published: check what writes there, and "
            "continue with --resume."
        )
