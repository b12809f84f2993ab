"""Messages name options as their reader writes them."""

from __future__ import annotations

import pickle

import pytest

from cellucid_dask.errors import (
    IN_PYTHON,
    ExportError,
    ExportWarning,
    RequestError,
    phrase,
    told_in_shell,
)
from cellucid_dask.request.options import ExportOptions, flag_of

TEXTS = [
    ("pass --force to replace it.", "pass force=True to replace it."),
    ("go on with --resume, or start", "go on with resume=True, or start"),
    ("another column with --var-gene-id-column.", "another column with var_gene_id_column."),
    ("name it: --embedding KEY:0,1, or", 'name it: embeddings=["KEY:0,1"], or'),
    ("pass --normalize log1p-cp10k, to", 'pass normalize="log1p-cp10k", to'),
    ("uncompressed, --compression none.", "uncompressed, compression=None."),
    ("(others: --layer=raw, --layer=b.c).", '(others: layer="raw", layer="b.c").'),
    ("a smaller --memory-budget 512MiB", "a smaller memory_budget 512MiB"),
    ("or --no-page.", "or page=False."),
    ("pass --genes A,B", "pass gene_identifiers A,B"),
    ("with --port, or --debug", "with --port, or --debug"),
]


@pytest.mark.parametrize(("text", "in_python"), TEXTS)
@pytest.mark.parametrize("kind", [RequestError, ExportError, ExportWarning])
def test_options_in_messages(text: str, in_python: str, kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind(text)))  # noqa: S301  as workers send it
    assert str(error) == phrase(text) == in_python
    assert phrase(in_python) == in_python
    with told_in_shell():
        assert str(error) == text
    assert str(error) == in_python


def test_every_option_is_known() -> None:
    assert {flag_of(name) for name in ExportOptions.__annotations__} | {"--genes-file"} == set(
        IN_PYTHON
    )
