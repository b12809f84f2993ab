"""An element that is read without anndata is what anndata reads."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import read_elem, write_elem
from scipy import sparse

from cellucid_dask.source.encodings import read_element

ELEMENTS: dict[str, Any] = {
    "array": np.arange(6, dtype=np.int16).reshape(3, 2),
    "no rows": np.zeros((0, 2), np.float32),
    "flags": np.array([True, False]),
    "text": np.array(["B", "", "Zelle ä"], object),
    "categorical": pd.Categorical(["b", "a", None, "b"], ["b", "a"]),
    "ordered": pd.Categorical([3, 1, 3], [3, 1], ordered=True),
    "categories not used": pd.Categorical.from_codes([], ["x", "y"]),
    "nullable text": pd.array(["a", None, "b"], "string"),
    "nullable integer": pd.array([1, None, 3], "Int32"),
    "nullable boolean": pd.array([True, None], "boolean"),
    "sparse": sparse.csr_matrix(np.eye(3, dtype=np.float32)),
    "table": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
}


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("form", ["h5py", "zarr 2", "zarr 3"])
def test_equals_what_anndata_reads(form: str, name: str, tmp_path: Path) -> None:
    if form == "h5py":
        group: Any = h5py.File(tmp_path / "a.h5", "w")
    else:
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=int(form[-1]))
    with warnings.catch_warnings(), anndata.settings.override(allow_write_nullable_strings=True):
        warnings.simplefilter("ignore")
        write_elem(group, "element", ELEMENTS[name])
        ours, theirs = read_element(group["element"]), read_elem(group["element"])
    assert type(ours) is type(theirs)
    assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)
    if sparse.issparse(ours):
        ours, theirs = ours.toarray(), theirs.toarray()
    if isinstance(ours, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs)
    elif isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    else:
        pd.testing.assert_extension_array_equal(ours, theirs)


def test_an_export_of_h5ad_starts_without_slow_imports(tmp_path: Path) -> None:
    """They take longer than all else that such an export imports."""
    obs = pd.DataFrame({"type": pd.Categorical(["a", "b"] * 5), "depth": np.arange(10.0)})
    adata = anndata.AnnData(
        sparse.random(10, 4, 0.5, "csr", np.float32),
        obs=obs.set_axis([f"c{i}" for i in range(10)]),
        obsm={"X_umap": np.zeros((10, 2), np.float32)},
    )
    adata.write_h5ad(tmp_path / "a.h5ad")
    script = (
        "import sys; from cellucid_dask.cli.commands import main;"
        "code = main(sys.argv[1:]);"
        "slow = {'anndata', 'asyncio', 'dask.array', 'distributed', 'fsspec', 'scipy', 'zarr'};"
        "print(code, sorted(slow & set(sys.modules)))"
    )
    command = ["export", str(tmp_path / "a.h5ad"), str(tmp_path / "out"), "--no-progress"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
