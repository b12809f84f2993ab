"""The command line: what it refuses, its exit codes, the same bytes as from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cellucid_dask
from tests.helpers import SETTINGS, run_command, tree_bytes
from tests.viewer_reader import check


def cli_refused(target: Path, *arguments: str | Path) -> str:
    """Check that the command refuses in a line or two; return them."""
    run = run_command("export", *arguments)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 2, run.stderr
    assert not target.exists()
    return run.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--layer", "logged"), "logged"),
        (("--genes", "gene1,CD3D"), "CD3D"),
        (("--genes-file", "missing.txt"), "missing.txt"),
        (("--genes-from", "highly_variable"), "highly_variable"),
        (("--var-gene-id-column", "ensembl"), "ensembl"),
        (("--obs-keys", "celltype"), "celltype"),
        (("--embedding", "X_tsne"), "X_tsne"),
        (("--latent", "X_scvi"), "X_scvi"),
        (("--var-quantization", "12"), "12"),
        (("--compression", "11"), "11"),
        (("--memory-budget", "banana"), "banana"),
        (("--created-at", "yesterday"), "yesterday"),
        (("--bananas",), "--bananas"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_command_refuses_options(
    small_h5ad: Path, target: Path, options: tuple[str, ...], word: str
) -> None:
    assert word in cli_refused(target, small_h5ad, target, *options)


def test_command_refuses_a_missing_source(tmp_path: Path, target: Path) -> None:
    assert "none.h5ad" in cli_refused(target, tmp_path / "none.h5ad", target)


def test_command_refuses_a_truncated_source(small_h5ad: Path, target: Path) -> None:
    small_h5ad.write_bytes(small_h5ad.read_bytes()[:20_000])
    assert "small.h5ad" in cli_refused(target, small_h5ad, target)


def test_command_refuses_a_transposed_matrix(transposed: Path, target: Path) -> None:
    assert "transpose" in cli_refused(target, transposed, target).lower()


def test_command_refuses_an_existing_export(small_h5ad: Path, target: Path) -> None:
    done = run_command("export", small_h5ad, target, "--no-progress")
    assert done.returncode == 0, done.stderr
    check(target)

    again = run_command("export", small_h5ad, target, "--no-progress")
    assert again.returncode == 2
    assert "--force" in again.stderr

    forced = run_command(
        "export", small_h5ad, target, "--force", "--genes", "gene3", "--no-progress"
    )
    assert forced.returncode == 0, forced.stderr
    assert check(target).genes == ["gene3"]


def test_command_without_arguments() -> None:
    run = run_command("export")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_command_answers_in_json(small_h5ad: Path, target: Path) -> None:
    run = run_command("export", small_h5ad, target, "--json")
    assert run.returncode == 0, run.stderr
    assert isinstance(json.loads(run.stdout), dict)


def test_command_and_python_write_the_same(small_h5ad: Path, tmp_path: Path) -> None:
    options = (
        "--created-at",
        SETTINGS["created_at"],
        "--dataset-id",
        "cells",
        "--dataset-name",
        "Cells",
    )
    run = run_command("export", small_h5ad, tmp_path / "command", *options)
    assert run.returncode == 0, run.stderr

    cellucid_dask.export(small_h5ad, tmp_path / "python", **{**SETTINGS, "page": True})

    assert tree_bytes(tmp_path / "command") == tree_bytes(tmp_path / "python")
