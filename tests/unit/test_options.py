"""Options are declared once: keywords, defaults and the command line agree."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import cellucid_dask
from cellucid_dask.cli.commands import main
from cellucid_dask.cli.parser import build_parser
from cellucid_dask.errors import RequestError
from cellucid_dask.request.options import ExportOptions
from cellucid_dask.request.settings import RUN_OPTIONS, Settings

NAMES = [each.name for each in fields(Settings)]
# What only the command line has.
OF_THE_COMMAND = {"command", "source", "target", "scheduler", "n_workers", "json", "debug"}


def parse(*arguments: str) -> dict[str, Any]:
    return vars(build_parser().parse_args(["export", "atlas.h5ad", "out", *arguments]))


def given(*arguments: str) -> dict[str, Any]:
    return {name: value for name, value in parse(*arguments).items() if name in NAMES}


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
    assert set(parse()) == OF_THE_COMMAND


def test_every_option_is_one_of_the_command_line() -> None:
    parser = build_parser()
    (commands,) = (
        each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)
    )
    for command in ("export", "plan"):
        actions = [each for each in commands[command]._actions if each.dest in NAMES]
        assert list(dict.fromkeys(each.dest for each in actions)) == NAMES
        assert all(each.help for each in actions)


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
        ("--genes A --genes-from B", "not allowed with argument --genes"),
        (f"--genes A --genes-file {__file__}", "not allowed with argument --genes"),
        ("--force --resume", "not allowed with argument --force"),
        ("--scheduler a --n-workers 2", "not allowed with argument --scheduler"),
        ("--genes-file missing.txt", "the gene list missing.txt cannot be read"),
        ("--storage-option secret", "--storage-option: write it as KEY=VALUE"),
        ("--centroid-min-points few", "--centroid-min-points: invalid int value: 'few'"),
        ("--var-quantization few", "var_quantization is 'few': choose 8, 16 or none"),
        ("--compression best", "compression is 'best': choose a gzip level from 1 to 9"),
        ("--normalize cpm", "normalize is 'cpm': choose log1p-cp10k or none"),
        ("--obs-categorical-dtype int8", "obs_categorical_dtype is 'int8': choose auto"),
    ],
)
def test_refused_arguments(arguments: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["export", "atlas.h5ad", "out", *arguments.split()])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
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


def test_storage_options_are_not_shown() -> None:
    assert "hush" not in repr(Settings.of({"storage_options": {"secret": "hush"}}))
    assert Settings.of({"storage_options": None}).storage_options == {}


def test_options_of_a_run() -> None:
    assert {
        "memory_budget", "scratch", "force", "resume", "page", "progress", "storage_options",
        "source_storage_options", "created_at", "allow_links",
    } == RUN_OPTIONS  # fmt: skip
