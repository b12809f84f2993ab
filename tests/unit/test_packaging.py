"""What package indexes and catalogs are told: it is complete, and says the same everywhere."""

from __future__ import annotations

import re
import tomllib

import yaml

import cellucid_dask
from tests.helpers import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RECIPE = yaml.safe_load((ROOT / "deploy/conda/recipe.yaml").read_text())
# How conda-forge calls what has another name on PyPI.
_ON_CONDA = {"dask[array]": "dask-core", "zlib-ng": "python-zlib-ng"}


def _requirements(lines: list[str]) -> dict[str, str]:
    """Return the bounds by the name that conda-forge uses."""
    found = (re.fullmatch(r"(\S+?) ?(>=\S+)", line) for line in lines)
    return {_ON_CONDA.get(each[1], each[1]): each[2] for each in found if each}


def test_the_conda_recipe_asks_for_what_the_package_needs() -> None:
    project = PYPROJECT["project"]
    run = RECIPE["requirements"]["run"]
    cluster = project["optional-dependencies"]["cluster"]  # conda has no extras
    assert _requirements(run) == _requirements([*project["dependencies"], *cluster])
    assert "python" in run
    assert (
        f'match(python, "<{project["requires-python"].removeprefix(">=")}")'
        in (RECIPE["build"]["skip"])
    )
    host = _requirements(RECIPE["requirements"]["host"])
    assert host == _requirements(PYPROJECT["build-system"]["requires"])
    assert '${{ compiler("c") }}' in RECIPE["requirements"]["build"]


def test_the_version_and_license_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = cellucid_dask.__version__.partition(".dev")[0]
    assert citation["version"] == RECIPE["context"]["version"] == released
    license_ = PYPROJECT["project"]["license"]
    assert citation["license"] == RECIPE["about"]["license"] == license_
    assert RECIPE["about"]["summary"] == PYPROJECT["project"]["description"]


def test_the_readme_has_no_dead_link_where_it_stands_alone() -> None:
    text = (ROOT / "README.md").read_text()
    assert "](docs/" in text
    for each in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"][
        "substitutions"
    ]:
        text = re.sub(each["pattern"], each["replacement"], text)
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert "## License" in text
