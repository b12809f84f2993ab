"""The exceptions and the warning of this package.

Messages name options as on the command line: ``--force``, ``--layer=raw``. Callers from
Python read ``force=True`` and ``layer="raw"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cellucid_dask.display import printable

# How each option is written on the command line, and in Python with ``{}`` for its value. Messages
# need both wherever they are read, so the table stands below all that raise.
IN_PYTHON = {
    "--layer": "layer={}",
    "--normalize": "normalize={}",
    "--genes": "gene_identifiers=[{}]",
    "--genes-from": "genes_from={}",
    "--var-gene-id-column": "var_gene_id_column={}",
    "--gene-aliases": "gene_aliases={}",
    "--make-genes-unique": "make_genes_unique=True",
    "--shorten-gene-names": "shorten_gene_names=True",
    "--skip-missing-genes": "skip_missing_genes=True",
    "--genes-only": "genes_only=True",
    "--obs-keys": "obs_keys=[{}]",
    "--cell-ids": "cell_ids=True",
    "--embedding": "embeddings=[{}]",
    "--latent": "latent={}",
    "--connectivities": "connectivities={}",
    "--vector-field": "vector_fields=[{}]",
    "--format": "format={}",
    "--var-quantization": "var_quantization={}",
    "--obs-continuous-quantization": "obs_continuous_quantization={}",
    "--obs-categorical-dtype": "obs_categorical_dtype={}",
    "--compression": "compression={}",
    "--centroid-outlier-quantile": "centroid_outlier_quantile={}",
    "--centroid-min-points": "centroid_min_points={}",
    "--dataset-id": "dataset_id={}",
    "--dataset-name": "dataset_name={}",
    "--dataset-description": "dataset_description={}",
    "--source-name": "source_name={}",
    "--source-url": "source_url={}",
    "--source-citation": "source_citation={}",
    "--created-at": "created_at={}",
    "--memory-budget": "memory_budget={}",
    "--timeout": "timeout={}",
    "--scratch": "scratch={}",
    "--storage-option": "storage_options=[{}]",
    "--source-storage-option": "source_storage_options=[{}]",
    "--allow-links": "allow_links=True",
    "--force": "force=True",
    "--resume": "resume=True",
    "--no-page": "page=False",
    "--no-progress": "progress=False",
    "--genes-file": "gene_identifiers=[{}]",
}
# How each option of Python is written on the command line; of two flags, the first.
FLAGS = {written.partition("=")[0]: flag for flag, written in reversed(IN_PYTHON.items())}
_FLAG = re.compile(
    r"(--[a-z][a-z-]*)(?:=([^\s,;)]*[^\s,;).])|[ ]([A-Z]+(?::0,1)?|log1p-cp10k|none|\d+)\b(?!,\w))?"
)
_in_shell: ContextVar[bool] = ContextVar("in_shell", default=False)


@contextmanager
def told_in_shell() -> Iterator[None]:
    """Within the block, messages are for the command line."""
    token = _in_shell.set(True)
    try:
        yield
    finally:
        _in_shell.reset(token)


def phrase(text: str) -> str:
    """Return a message with its options as its reader writes them."""
    return text if _in_shell.get() else _FLAG.sub(_in_python, text)


def _in_python(match: re.Match[str]) -> str:
    flag, attached, apart = match.groups()
    written = IN_PYTHON.get(flag)
    if written is None:
        return match[0]
    value = attached or apart
    if "{}" not in written:
        return f"{written} {value}" if value else written
    if not value:
        return written.partition("=")[0]
    is_number = value.isdecimal()
    return written.format("None" if value == "none" else value if is_number else f'"{value}"')


class _Said(Exception):  # noqa: N818  a part of the classes below
    """A message with names in it that may be a stranger's."""

    def __str__(self) -> str:
        """Return the message as it may be shown on a terminal."""
        return phrase(printable(super().__str__()))


class RequestError(_Said, ValueError):
    """The request is invalid. Nothing was written, and the message says what to change."""


class ExportError(_Said, RuntimeError):
    """The work failed. The target contains nothing that looks like a complete export."""


class ExportWarning(_Said, UserWarning):
    """The export continues, but you should check the result."""
