"""Small data sets, their files and the settings that most tests share."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem, write_elem
from scipy import sparse

ROOT = Path(__file__).parents[1]

# Forked from a process that has no threads and no connections; an import of all takes a second.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *(f"cellucid_dask.{name}" for name in ("api", "cli.commands", "read.verify")),
        *("h5py", "s3fs", "zarr", "tests.helpers"),
    ]
)

# For node: reads paths of gzip files as JSON, prints the SHA-256 of what a browser makes of each.
INFLATE = """
const { readFileSync } = require("node:fs");
const { createHash } = require("node:crypto");
async function digest(path) {
  const inflate = new DecompressionStream("gzip");
  const plain = new Blob([readFileSync(path)]).stream().pipeThrough(inflate);
  const bytes = Buffer.from(await new Response(plain).arrayBuffer());
  return createHash("sha256").update(bytes).digest("hex");
}
const files = JSON.parse(readFileSync(0, "utf-8"));
Promise.all(files.map(digest)).then((digests) => console.log(JSON.stringify(digests)));
"""

MatrixForm = Literal["csr", "csc", "dense"]
Tree = dict[str, bytes]  # the files below a folder, by relative path

# An export with these settings depends on its source alone.
SETTINGS: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00Z",
    "dataset_id": "cells",
    "dataset_name": "Cells",
    "page": False,  # its files are as many as those of a small export
    "progress": False,
}


def _as_form(matrix: Any, form: MatrixForm) -> Any:
    if form == "dense":
        return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
    if sparse.issparse(matrix) and matrix.format == form:
        return matrix
    return {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[form](matrix)


def _random_expression(n_cells: int, n_genes: int, dtype: str, density: float, seed: int) -> Any:
    random = np.random.default_rng(seed)
    values = random.gamma(2.0, 1.5, size=(n_cells, n_genes))
    if not np.issubdtype(np.dtype(dtype), np.floating):
        values = np.ceil(values)
    return np.where(random.random(values.shape) < density, values, 0).astype(dtype)


def _cell_metadata(n_cells: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    kinds = pd.Categorical.from_codes(
        random.integers(-1, 3, n_cells), ["T cell", "B cell", "monocyte", "unseen"]
    )
    score = random.normal(size=n_cells)
    score[:1] = np.nan
    return pd.DataFrame(
        {
            "cell_type": kinds,
            "doublet": random.random(n_cells) < 0.3,
            "sample": random.choice(["donor 2", "donor 10"], n_cells).astype(object),
            "score": score,
            "depth": random.integers(100, 200, n_cells),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )


def _gene_metadata(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"symbol": [f"symbol-{name}" for name in names], "marker": np.arange(len(names)) % 2 == 0},
        index=pd.Index(names),
    )


def small_anndata(
    matrix: Any = None,
    *,
    form: MatrixForm = "csr",
    dtype: str = "float32",
    genes: list[str] | None = None,
    n_cells: int = 40,
    n_genes: int = 12,
    density: float = 0.3,
    seed: int = 7,
    extras: bool = True,
) -> ad.AnnData:
    """Make an AnnData of few cells; `extras` are a layer, raw and a graph."""
    if matrix is None:
        matrix = _random_expression(n_cells, len(genes or range(n_genes)), dtype, density, seed)
    n_cells, n_genes = matrix.shape
    names = genes or [f"gene{i}" for i in range(n_genes)]
    random = np.random.default_rng(seed + 1)
    adata = ad.AnnData(
        X=_as_form(matrix, form),
        obs=_cell_metadata(n_cells, seed),
        var=_gene_metadata(names),
        obsm={
            "X_umap": random.normal(size=(n_cells, 2)).astype(np.float32),
            "X_pca": random.normal(size=(n_cells, 6)),
        },
    )
    if extras:
        _add_extras(adata, form, density, seed + 2)
    return adata


def _add_extras(adata: ad.AnnData, form: MatrixForm, density: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    n_cells, n_genes = adata.shape
    adata.layers["doubled"] = _as_form(adata.X.astype(np.float64) * 2, form)
    adata.obsp["connectivities"] = sparse.random(
        n_cells, n_cells, density=min(1.0, 3 / n_cells), format="csr", random_state=random
    )
    adata.raw = ad.AnnData(
        X=_as_form(_random_expression(n_cells, n_genes + 3, "float32", density, seed), form),
        obs=adata.obs[[]],
        var=_gene_metadata([f"raw{i}" for i in range(n_genes + 3)]),
    )


def write_h5ad(
    adata: ad.AnnData, path: Path, *, compression: Literal["gzip", "lzf"] | None = "gzip"
) -> Path:
    adata.write_h5ad(path, compression=compression)
    return path


def write_zarr(
    adata: ad.AnnData,
    path: Path,
    *,
    version: Literal[2, 3] = 3,
    chunks: tuple[int, int] | None = None,
    plain: bool = False,
) -> Path:
    """Write a Zarr store as the installed anndata does.

    A `plain` one is alike whatever anndata that is: no shards, and each text is one array.
    """
    layout = {"allow_write_nullable_strings": False, "auto_shard_zarr_v3": False} if plain else {}
    with writing(zarr_write_format=version, **layout):
        adata.write_zarr(path, chunks=chunks)
    return path


def make_nullable(group: Any, *tables: str) -> None:
    """Store the index of tables as anndata does with pandas 3: values, and which are missing."""
    with writing(allow_write_nullable_strings=True, auto_shard_zarr_v3=False):
        for table in tables:
            index = group[table].attrs["_index"]
            values = read_elem(group[table][index])
            if isinstance(values, np.ndarray):
                del group[table][index]
                write_elem(group[table], index, pd.array(values, "string"))
        if isinstance(group, zarr.Group):
            zarr.consolidate_metadata(group.store)


@contextmanager
def writing(**settings: Any) -> Iterator[None]:
    """Return a context in which anndata writes by the settings that it has of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of changes to come in what anndata writes
        known = {key: value for key, value in settings.items() if hasattr(ad.settings, key)}
        with ad.settings.override(**known):
            yield


def tree_bytes(folder: Path) -> Tree:
    """Read every file below a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file()
    }


def read_source(path: Path) -> ad.AnnData:
    """Read an h5ad file or a Zarr store whole, without warnings of old formats."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_zarr(path) if path.suffix == ".zarr" else ad.read_h5ad(path)


def dense(matrix: Any) -> Any:
    """Return a matrix as a float32 array."""
    plain = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
    return plain.astype(np.float32)


def expression(adata: ad.AnnData, layer: str) -> tuple[Any, list[str]]:
    """Return one matrix of `adata` in float32, and the names of its genes."""
    if layer == "raw":
        return dense(adata.raw.X), list(adata.raw.var_names)
    return dense(adata.X if layer == "X" else adata.layers[layer]), list(adata.var_names)


def edit_json(file: Path, edit: Callable[[Any], Any]) -> None:
    """Change a JSON document in place."""
    document = json.loads(file.read_text("utf-8"))
    edit(document)
    file.write_text(json.dumps(document), "utf-8")


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, forked from one that has the imports done."""
    command = list(map(str, arguments))
    with TemporaryDirectory() as folder:
        streams = Path(folder, "out"), Path(folder, "err")
        process = PROCESSES.Process(target=_command, args=(command, streams, dict(os.environ)))
        process.start()
        process.join()
        out, err = (stream.read_text() for stream in streams)
    return subprocess.CompletedProcess(command, process.exitcode or 0, out, err)


def _command(arguments: list[str], streams: tuple[Path, Path], environment: dict[str, str]) -> None:
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv[1:] = arguments
    from cellucid_dask.__main__ import run

    run()


def run_in_new_python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line by an interpreter of its own, whose end is part of the test."""
    return subprocess.run(
        [sys.executable, "-m", "cellucid_dask", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def forget_checksums(target: Path) -> None:
    """Make an export one without checksums, as other programs write them."""

    def forget(identity: dict[str, Any]) -> None:
        for key in ("checksums_sha256", "identity_sha256"):
            del identity["export_settings"][key]

    (target / "checksums.sha256").unlink()
    if (target / "dataset_identity.json").exists():
        edit_json(target / "dataset_identity.json", forget)
