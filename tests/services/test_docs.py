"""The examples of README, docs/ and deploy/ are run; the documentation builds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from tests.helpers import ROOT

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
    ]
    if "_build" not in page.parts
)
# What a page takes for granted.
_EXPORT = "cellucid-dask export atlas.h5ad atlas_export"
BEFORE = {
    "docs/format.md": _EXPORT,
    "docs/viewing.md": f"{_EXPORT}; printf 'cell,name\\n0,CELL000000\\n' > blood-selection.csv",
}
# The command; what serves until it is stopped is stopped once it has said its address.
_COMMAND = """#!/usr/bin/env bash
run="{python} -m cellucid_dask"
if [ "$1" = view ]; then
  : > view.log  # there may be one of an earlier example
  $run "$@" --no-browser >> view.log &
  until grep -q "Ctrl-C stops" view.log || ! kill -0 $!; do sleep 0.1; done
  kill $!
  wait $!
  exit
fi
exec $run "$@"
"""

_MARK = r"(?:^[ ]*<!-- not run(?P<why>.*?)-->\n\s*)?"
_FENCE = r"^(?P<indent>[ ]*)```(?P<language>console|bash|python)\n(?P<text>.*?)^(?P=indent)```"
_BLOCK = re.compile(_MARK + _FENCE, re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """An example; `why` it is not run, if it is not."""

    language: str
    text: str
    why: str | None


def _blocks(page: str) -> Iterator[Block]:
    for found in _BLOCK.finditer((ROOT / page).read_text()):
        lines = found["text"].replace(f"\n{found['indent']}", "\n").lstrip()
        if found["language"] == "console" and "$ " in lines:
            shown = [line.partition("$ ") for line in lines.splitlines()]
            lines = "\n".join(command for before, prompt, command in shown if prompt and not before)
        yield Block(found["language"], lines, found["why"])


def test_blocks_are_found_with_their_marks() -> None:
    quickstart = list(_blocks("docs/quickstart.md"))
    assert quickstart[0].why == ": needs the network "
    assert quickstart[1].text == "cellucid-dask demo"
    assert quickstart[1].why is None


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    whys = [block.why for page in PAGES for block in _blocks(page) if block.why is not None]
    assert all(re.fullmatch(r": \S.+ ", why) for why in whys)
    assert len(whys) <= 35


def _said_by_the_package() -> list[str]:
    """Texts of the package other than docstrings, with a mark where something is filled in."""
    found = []
    for path in sorted((ROOT / "cellucid_dask").rglob("*.py")):
        tree = ast.parse(path.read_text())
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                texts = [str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "{}"
                         for part in node.values]  # fmt: skip
                found.append("".join(texts))
            elif isinstance(node, ast.Constant) and id(node) not in documented:
                found.append(str(node.value))
    for script in sorted((ROOT / "cellucid_dask/page/static").glob("*.js")):
        found += script.read_text().splitlines()
    return found


def test_troubleshooting_quotes_what_the_program_says() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text().partition("## All messages")[0]
    prose = re.sub(r"`[^`\n]*`", "", page)
    quoted = [" ".join(text.split()) for text in re.findall(r'"([^"]+)"', prose)]
    assert len(quoted) > 50
    said = _said_by_the_package()
    for text in quoted:
        wanted = re.compile(".*".join(re.escape(part.strip()) for part in text.split("...")))
        assert any(wanted.search(each) for each in said), text


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the examples name, and the command."""
    from cellucid_dask.cli.demo import make_dataset

    folder = tmp_path_factory.mktemp("atlas")
    adata = make_dataset(600, 40)
    adata.var_names = ["CD3D" if name == "GENE0000" else name for name in adata.var_names]
    adata.var["highly_variable"] = [number % 3 == 0 for number in range(adata.n_vars)]
    adata.layers["log1p"] = adata.X.copy()
    adata.obsm["velocity_umap"] = np.ones((adata.n_obs, 2), np.float32)
    adata.obsp["connectivities"] = sparse.random(adata.n_obs, adata.n_obs, 0.01, "csr")
    adata.write_h5ad(folder / "atlas.h5ad", compression="gzip")
    adata.write_zarr(folder / "atlas.zarr")
    command = folder / "bin/cellucid-dask"
    command.parent.mkdir()
    command.write_text(_COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """Return the environment in which s3://bucket is there; empty without a server for it."""
    if find_spec("moto") is None or find_spec("flask") is None or find_spec("s3fs") is None:
        yield {}
        return
    import s3fs
    from moto.server import ThreadedMotoServer

    server: Any = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    store = s3fs.S3FileSystem(
        key="test",
        secret="test",  # noqa: S106  the server takes any
        endpoint_url=environment["AWS_ENDPOINT_URL"],
    )
    for bucket in ("bucket", "my-atlases"):
        store.mkdir(bucket)
    yield environment
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page: str, atlas: Path, s3: dict[str, str], tmp_path: Path) -> None:
    blocks = [block for block in _blocks(page) if block.why is None]
    if not blocks:
        pytest.skip("the page has no example to run")
    if not s3 and any("s3://" in block.text for block in blocks):
        pytest.skip("there is no S3 server (moto) for this page")
    for name in ("atlas.h5ad", "atlas.zarr"):
        (tmp_path / name).symlink_to(atlas / name)
    path = [str(atlas / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | s3 | {
        "PATH": ":".join(path),
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }  # fmt: skip
    if page in BEFORE:
        blocks.insert(0, Block("bash", BEFORE[page], None))
    for block in blocks:
        command = (
            [sys.executable, "-c", block.text]
            if block.language == "python"
            else ["bash", "-ec", block.text]
        )
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_documentation_builds(tmp_path: Path) -> None:
    for needed in ("sphinx", "myst_nb", "sphinx_click", "sphinx_book_theme", "sphinx_copybutton"):
        pytest.importorskip(needed)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", tmp_path / "html"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("api", "cli", "troubleshooting", "tutorial/lazy"):
        assert (tmp_path / f"html/{page}.html").stat().st_size > 10_000
    cli = (tmp_path / "html/cli.html").read_text()
    assert "--var-quantization" in cli
    assert (tmp_path / "html/api.html").read_text().count("memory_budget") > 1
    for name in cellucid_dask.__all__:
        if not name.startswith("_"):
            assert (tmp_path / f"html/generated/cellucid_dask.{name}.html").is_file(), name
