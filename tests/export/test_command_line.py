"""The command line: what it refuses, its exit codes, the same bytes as from Python."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

import cellucid_dask
import cellucid_dask.api
import cellucid_dask.read.catalog
from cellucid_dask.cli.commands import cli, main
from tests.helpers import ROOT, SETTINGS, run_command, small_anndata, tree_bytes, write_h5ad
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
    assert "none.h5ad does not exist." in cli_refused(target, tmp_path / "none.h5ad", target)


def test_command_says_which_path_was_meant(small_h5ad: Path, target: Path) -> None:
    """A typing error in the source, and the source and the target exchanged."""
    typed = small_h5ad.with_name("small.h5")
    assert "did you mean small.h5ad?" in cli_refused(target, typed, target)
    assert run_command("export", small_h5ad, target, "--no-progress").returncode == 0
    exchanged = run_command("export", target, small_h5ad)
    assert exchanged.returncode == 2
    assert "is an export, not AnnData: name the source first" in exchanged.stderr


@pytest.mark.parametrize("missing", ["distributed", "cryptography"])
@pytest.mark.parametrize("command", ["plan", "verify"])
def test_workers_need_an_extra(
    small_h5ad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, missing: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, missing, None)
    assert main([command, str(small_h5ad), "--n-workers", "2"]) == 2
    assert 'not installed: pip install "cellucid-dask[cluster]".' in capsys.readouterr().err


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


def test_command_resumes_a_complete_export(small_h5ad: Path, target: Path) -> None:
    """A job that a scheduler starts again is done."""
    command = ("export", small_h5ad, target, "--no-page", "--resume")
    assert run_command(*command).returncode == 0
    before = tree_bytes(target)
    again = run_command(*command)
    assert again.returncode == 0, again.stderr
    assert "complete, nothing to do" in again.stdout
    assert tree_bytes(target) == before
    other = run_command(*command, "--layer", "doubled")
    assert other.returncode == 2
    assert "another layer" in other.stderr


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


@pytest.mark.parametrize(
    ("content", "genes"),
    [
        (b"\xef\xbb\xbfG2\r\nG3\r\n", ["G2", "G3"]),
        (b"a b\n\n  G3  \n", ["a b", "G3"]),
        (b"c,d\nG2", ["c,d", "G2"]),
    ],
    ids=["byte order mark", "space", "comma"],
)
def test_a_file_of_genes(
    tmp_path: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    genes: list[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source = write_h5ad(small_anndata(genes=["a b", "c,d", "G2", "G3"]), tmp_path / "a.h5ad")
    (tmp_path / "genes").write_bytes(content)
    run = run_command("export", source, target, "--no-page", "--genes-file=~/genes")
    assert run.returncode == 0, run.stderr
    assert check(target).genes == genes


def test_names_with_commas_and_spaces_in_options(tmp_path: Path, target: Path) -> None:
    adata = small_anndata(genes=["a b", "c,d", "G2"])
    adata.obs["age, years"] = 1.0
    source = write_h5ad(adata, tmp_path / "a.h5ad")
    options = ("--genes", "c,d, a b", "--obs-keys", "score, age, years", "--no-page")
    run = run_command("export", source, target, *options)
    assert run.returncode == 0, run.stderr
    found = check(target)
    assert found.genes == ["c,d", "a b"]
    assert list(found.obs) == ["score", "age, years"]


def test_a_stopped_command_says_how_to_go_on(
    small_h5ad: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cellucid_dask.api, "export", stop)
    options = ["--force", "--dataset-name", "My atlas", "--storage-option", "key=hush"]
    assert main(["export", str(small_h5ad), str(target), *options]) == 130
    said = capfd.readouterr().err
    again = f"cellucid-dask export {small_h5ad} {target} --dataset-name 'My atlas' "
    assert said.splitlines()[-1] == f"{again}--storage-option 'key=***' --resume"
    monkeypatch.setattr(cellucid_dask.read.catalog, "catalog", stop)
    assert main(["catalog", str(target)]) == 130
    assert capfd.readouterr().err == "stopped\n"


def test_quiet_and_verbose(small_h5ad: Path, target: Path) -> None:
    command: list[str | Path] = ["export", small_h5ad, target, "--no-page", "--force"]
    command += ["--genes", "gene1,CD3D", "--skip-missing-genes"]
    quiet = run_command(*command, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = run_command(*command, "-v")
    assert "cellucid_dask: 40 cells x 1 genes; route" in verbose.stderr
    assert "warning:" in verbose.stderr


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help(command: str) -> None:
    run = run_command(*filter(None, [command]), "--help")
    assert run.returncode == 0, run.stderr
    assert not command or f"  cellucid-dask {command}" in run.stdout


def test_help_needs_no_library() -> None:
    code = (
        "import sys\nfrom cellucid_dask.cli.commands import cli, main\nmain(['export', '--help'])\n"
        "assert not {'dask', 'numpy', 'anndata'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_help_into_a_pipe_that_closes() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cellucid_dask", "export", "--help"]
    run = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    os.close(writer)
    assert run.stderr == b""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_goes_away(small_h5ad: Path, target: Path, stream: str) -> None:
    """As `head` does: the work is done, and nothing is said of the pipe."""
    command = [sys.executable, "-m", "cellucid_dask", "export", small_h5ad, target]
    command += ["--no-page", "--genes", "gene1,CD3D", "--skip-missing-genes"]  # it warns
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    run = subprocess.run(command, text=True, check=False, **streams)
    os.close(writer)
    assert run.returncode == 0
    assert "Pipe" not in f"{run.stdout}{run.stderr}"
    assert check(target).genes == ["gene1"]


@pytest.mark.parametrize("command", ["plan", "export", "verify", "catalog"])
def test_names_do_not_reach_the_terminal_as_commands(tmp_path: Path, command: str) -> None:
    """A name may hold what moves the cursor, sets the title, or clears the screen."""
    evil = "\x1b]0;mine\x07\x1b[2J\x9b1m"
    adata = small_anndata(genes=[f"{evil}a", f"{evil}A", "b"])
    adata.obs[f"{evil}column"] = [f"{evil}{i}" for i in range(40)]
    source = write_h5ad(adata, tmp_path / "a.h5ad")
    options = {"dataset_name": f"{evil}name", "dataset_id": f"{evil}id", "page": False}
    cellucid_dask.export(source, tmp_path / "all/made", progress=False, **options)
    (tmp_path / f"all/made/{evil}").write_text("left over")
    arguments: dict[str, list[str | Path]] = {
        "plan": [source],
        "export": [source, tmp_path / "out", "--dataset-name", evil],
        "verify": [tmp_path / "all/made"],
        "catalog": [tmp_path / "all"],
    }
    run = run_command(command, *arguments[command])
    assert run.returncode == (1 if command == "verify" else 0), run.stderr
    shown = run.stdout + run.stderr
    assert shown.replace("\n", "").isprintable(), repr(shown)


def test_garbage_before_another_command_is_collected(tmp_path: Path, target: Path) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

    arguments = ["export", str(tmp_path / "none.h5ad"), str(target)]
    assert main(arguments) == 2
    gc.disable()  # the command enables it again
    left = weakref.ref(Cycle())
    assert left() is not None
    assert main(arguments) == 2
    gc.collect()
    assert left() is None
