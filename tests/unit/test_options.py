"""Options are declared once: keywords, defaults and the command line agree."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from click.shell_completion import ShellComplete

import cellucid_dask
from cellucid_dask.cli import parser
from cellucid_dask.cli.commands import cli, main
from cellucid_dask.errors import RequestError
from cellucid_dask.request import other_names
from cellucid_dask.request.options import ExportOptions
from cellucid_dask.request.settings import RUN_OPTIONS, Settings

NAMES = [each.name for each in fields(Settings)]
EXPORT = cli.commands["export"]


def given(*arguments: str) -> dict[str, Any]:
    return parser.given(EXPORT.make_context("export", ["atlas.h5ad", "out", *arguments]))


def test_keywords_have_the_types_of_the_settings() -> None:
    settings, keywords = get_type_hints(Settings), get_type_hints(ExportOptions)
    optional = {name: settings[name] | None for name in settings if "storage_options" in name}
    assert len(optional) == 2
    assert keywords == settings | optional
    assert list(keywords) == NAMES


@pytest.mark.parametrize("call", ["export", "plan"])
def test_signatures_spell_the_options_out(call: str) -> None:
    parameters = inspect.signature(getattr(cellucid_dask, call)).parameters
    assert list(parameters) == ["source", "target", *NAMES]
    assert parameters["compression"].default == 6
    assert parameters["compression"].annotation == "int | None"
    assert parameters["storage_options"].default is None


def test_an_option_that_is_not_given_is_left_to_its_default() -> None:
    assert given() == {}


@pytest.mark.parametrize("command", ["export", "plan"])
def test_every_option_is_one_of_the_command_line(command: str) -> None:
    options = [each for each in cli.commands[command].params if isinstance(each, parser.Option)]
    settings = [each.setting for each in options if each.setting]
    assert list(dict.fromkeys(settings)) == NAMES
    assert all(each.help for each in options)


def test_options_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLUCID_DASK_MEMORY_BUDGET", "1GiB")
    monkeypatch.setenv("CELLUCID_DASK_NO_PAGE", "1")
    monkeypatch.setenv("CELLUCID_DASK_EMBEDDING", "X_umap X_pca:0,1")
    monkeypatch.setenv("CELLUCID_DASK_GENES", "A,B")
    monkeypatch.setenv("CELLUCID_DASK_RESUME", "1")
    expected = {"memory_budget": "1GiB", "page": False, "embeddings": ["X_umap", "X_pca:0,1"]}
    written = {"gene_identifiers": ["A", "B"], "resume": True}
    assert given() == {**expected, **written}
    written = {"genes_from": "marker", "force": True, "page": False}
    assert given("--genes-from", "marker", "--force") == {**expected, **written}


def test_other_names_are_those_of_options() -> None:
    assert set(other_names._OTHER_NAMES) <= set(NAMES)
    words = " ".join(other_names._OTHER_NAMES.values()).split()
    assert not set(words) & set(NAMES)
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("wrong", "option", "flag"),
    [
        ("genes", "gene_identifiers", "--genes"),
        ("var_quantisation", "var_quantization", "--var-quantization"),
        ("overwrite", "force", "--force"),
        ("memory_limit", "memory_budget", "--memory-budget"),
        ("basis", "embeddings", "--embedding"),
        ("genes_fram", "genes_from", "--genes-from"),
        ("bananas", None, None),
    ],
)
def test_the_option_that_was_meant(wrong: str, option: str | None, flag: str | None) -> None:
    with pytest.raises(RequestError, match=f"no option '{wrong}'") as error:
        Settings.of({wrong: 1})
    assert str(error.value).endswith(f": did you mean {option}?" if option else "'.")
    if wrong != "genes":
        assert parser.flag_meant(EXPORT, "--" + wrong.replace("_", "-")) == flag


def test_workers_are_not_an_option_of_python() -> None:
    with pytest.raises(RequestError, match=r"distributed\.Client"):
        cellucid_dask.export("a.h5ad", "out", n_workers=2)  # type: ignore[call-arg]


def test_what_the_shell_completes() -> None:
    def completed(*arguments: str, start: str = "") -> list[str]:
        complete = ShellComplete(cli, {}, "cellucid-dask", "_CELLUCID_DASK_COMPLETE")
        return [each.value for each in complete.get_completions(list(arguments), start)]

    assert completed(start="v") == ["verify", "view"]
    assert completed("export", "--var-quantization") == ["8", "16", "none"]
    assert "--genes-file" in completed("export", start="--gene")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--layer raw", {"layer": "raw"}),
        ("--normalize log1p-cp10k", {"normalize": "log1p-cp10k"}),
        ("--normalize none", {"normalize": None}),
        ("--genes B,A,", {"gene_identifiers": ["B", "A"]}),
        ("--genes-from marker", {"genes_from": "marker"}),
        ("--make-genes-unique --genes-only", {"make_genes_unique": True, "genes_only": True}),
        ("--obs-keys a,b", {"obs_keys": ["a", "b"]}),
        ("--embedding X_pca:0,1 --embedding none", {"embeddings": ["X_pca:0,1", "none"]}),
        ("--vector-field v", {"vector_fields": ["v"]}),
        ("--connectivities none", {"connectivities": None}),
        ("--connectivities 7", {"connectivities": "7"}),
        ("--var-quantization none", {"var_quantization": None}),
        ("--obs-continuous-quantization 16", {"obs_continuous_quantization": 16}),
        ("--compression 0", {"compression": 0}),
        ("--centroid-min-points 3", {"centroid_min_points": 3}),
        ("--centroid-outlier-quantile 0.5", {"centroid_outlier_quantile": 0.5}),
        ("--dataset-name none", {"dataset_name": "none"}),
        ("--no-progress --resume", {"progress": False, "resume": True}),
        (
            '--storage-option anon=true --storage-option key=a=b --storage-option kw={"x":1}',
            {"storage_options": {"anon": True, "key": "a=b", "kw": {"x": 1}}},
        ),
        ("--source-storage-option key=1", {"source_storage_options": {"key": 1}}),
    ],
)
def test_arguments(arguments: str, expected: dict[str, Any]) -> None:
    assert given(*arguments.split()) == expected
    Settings.of(expected)


def test_genes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "genes.txt").write_text("CD3D\n LYZ \n\nMS4A1")
    expected = {"gene_identifiers": ["CD3D", "LYZ", "MS4A1"]}
    assert given("--genes-file", str(tmp_path / "genes.txt")) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--genes A --genes-from B", "is not allowed with --genes"),
        (f"--genes A --genes-file {__file__}", "is not allowed with --genes"),
        ("--force --resume", "--resume is not allowed with --force"),
        ("--scheduler a --n-workers 2", "is not allowed with --scheduler"),
        ("--genes-file missing.txt", "the gene list missing.txt cannot be read"),
        ("--storage-option secret", "--storage-option: write it as KEY=VALUE"),
        ("--centroid-min-points few", "--centroid-min-points: 'few' is not a valid integer"),
        ("--var-quantization few", "--var-quantization is 'few': choose 8, 16 or none"),
        ("--compression best", "--compression is 'best': choose a gzip level from 1 to 9"),
        ("--normalize cpm", "--normalize is 'cpm': choose log1p-cp10k or none"),
        ("--obs-categorical-dtype int8", "--obs-categorical-dtype is 'int8': choose auto"),
    ],
)
def test_refused_arguments(arguments: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "atlas.h5ad", "out", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512MiB", 2**29), ("2 GB", 2 * 10**9), ("1.5gib", 3 * 2**29), ("5k", 5000), (4096, 4096),
     ("4096", 4096), ("1e6", 10**6)],
)  # fmt: skip
def test_sizes(text: int | str, expected: int) -> None:
    assert Settings(memory_budget=text).budget == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "banana", "5 foos", "-1GiB", "0", 0, -5, "0.1", "nan", "1e999", True, [5]]
)
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(RequestError, match=r"memory_budget is .*: write a size such as 512MiB"):
        Settings(memory_budget=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 600), ("90s", 90), ("2 h", 7200), ("1 day", 86_400), (5, 5), (0.5, 0.5), ("30", 30)],
)
def test_times(text: float | str, expected: float) -> None:
    assert Settings(timeout=text).patience == expected


@pytest.mark.parametrize(
    "text", ["", "m", "banana", "5 foos", "-1h", "0", 0, -5, "nan", "inf", "1e999", True, None]
)
def test_times_that_are_none(text: Any) -> None:
    with pytest.raises(RequestError, match=r"timeout is .*: write a time such as 90s, 10m or 2h"):
        Settings(timeout=text)


def test_storage_options_are_not_shown() -> None:
    assert "hush" not in repr(Settings.of({"storage_options": {"secret": "hush"}}))
    assert Settings.of({"storage_options": None}).storage_options == {}


def test_options_of_a_run() -> None:
    assert {
        "memory_budget", "timeout", "scratch", "force", "resume", "page", "progress",
        "storage_options", "source_storage_options", "created_at", "allow_links",
    } == RUN_OPTIONS  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("latent", ["X_pca"], "latent is of type list: give one name"),
        ("layer", 7, "layer is of type int: give one name"),
        ("var_gene_id_column", {}, "var_gene_id_column is of type dict: give one name"),
        ("centroid_min_points", "7", "centroid_min_points is of type str: give a whole number"),
        ("centroid_outlier_quantile", None, "is of type NoneType: give a number"),
        ("obs_keys", 7, "obs_keys is of type int: give a list of names"),
        ("vector_fields", True, "vector_fields is of type bool: give a list of names"),
    ],
)
def test_values_of_other_types_are_refused(option: str, value: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        Settings.of({option: value})
