"""Messages name options as their reader writes them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import Field, fields
from typing import Any

import pytest

from cellucid_dask.errors import (
    FLAGS,
    IN_PYTHON,
    ExportError,
    ExportWarning,
    RequestError,
    phrase,
    told_in_shell,
)
from cellucid_dask.request.settings import Settings
from tests.helpers import ROOT

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


def _in_python(option: Field[Any]) -> str:
    if isinstance(option.default, bool):
        return f"{option.name}={not option.default}"
    known = option.metadata
    is_list = known["metavar"].startswith("A,B") or known.get("repeat")
    return f"{option.name}=[{{}}]" if is_list else f"{option.name}={{}}"


def test_every_option_is_known() -> None:
    options = {each.name: each for each in fields(Settings)}
    assert set(FLAGS) == set(options)
    assert set(FLAGS.values()) | {"--genes-file"} == set(IN_PYTHON)
    for name, flag in FLAGS.items():
        assert IN_PYTHON[flag] == _in_python(options[name])
    assert IN_PYTHON["--genes-file"] == IN_PYTHON["--genes"]


def test_messages_need_nothing_of_requests() -> None:
    code = """
import sys
from cellucid_dask.errors import phrase
assert phrase("with --resume, or --timeout 5") == "with resume=True, or timeout=5"
assert "cellucid_dask.request" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
