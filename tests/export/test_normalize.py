"""Counts normalized on the way, against the formula itself."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportError, ExportWarning, RequestError
from tests.helpers import SETTINGS, small_anndata, tree_bytes, write_h5ad
from tests.viewer_reader import check

OPTIONS = SETTINGS | {"normalize": "log1p-cp10k", "var_quantization": None, "obs_keys": []}


def normalized(counts: Any) -> Any:
    """Compute what sc.pp.normalize_total(target_sum=1e4) and sc.pp.log1p do, cell by cell."""
    rows = []
    for row in np.asarray(counts, np.float64):
        total = row.sum()
        rows.append(np.log1p(row * 1e4 / total) if total else row)
    return np.array(rows)


def counts_of(n_cells: int = 40, n_genes: int = 12, seed: int = 0) -> Any:
    counts = np.random.default_rng(seed).poisson(0.7, (n_cells, n_genes)).astype(np.float32)
    counts[3] = 0
    return counts


def forms(counts: Any, chunks: tuple[int, int]) -> dict[str, Any]:
    lazy = da.from_array(counts, chunks=chunks)
    return {
        "csr": sparse.csr_matrix(counts),
        "csc": sparse.csc_matrix(counts),
        "dense": counts,
        "columns": np.asfortranarray(counts),
        "dask": lazy,
        "sparse dask": lazy.map_blocks(sparse.csr_matrix),
        "csc dask": lazy.map_blocks(sparse.csc_matrix),
    }


@settings(max_examples=6, suppress_health_check=list(HealthCheck))
@given(
    n_cells=st.integers(1, 30),
    n_genes=st.integers(1, 9),
    dtype=st.sampled_from(["uint8", "int64", "float32", "float64"]),
    fraction=st.booleans(),
    seed=st.integers(0, 99),
    chunks=st.tuples(st.integers(1, 30), st.integers(1, 9)),
)
def test_same_bytes_of_every_form(
    n_cells: int, n_genes: int, dtype: str, fraction: bool, seed: int, chunks: tuple[int, int]
) -> None:
    counts = counts_of(max(n_cells, 4), n_genes, seed).astype(dtype)
    if fraction and dtype.startswith("float"):
        counts = (counts / 3).astype(dtype)
    trees = {}
    for form, matrix in forms(counts, chunks).items():
        adata = small_anndata(counts, form="dense", extras=False)
        adata.X = matrix
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cellucid_dask.export(adata, Path(folder) / "out", **OPTIONS)
            trees[form] = tree_bytes(Path(folder) / "out")
            export = check(Path(folder) / "out")
            found = np.stack([export.gene(gene) for gene in export.genes], axis=1)
        np.testing.assert_allclose(found, normalized(counts), rtol=2e-7)
    for form, tree in trees.items():
        assert tree == trees["csr"], form


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_totals_are_of_all_genes(tmp_path: Path, form: str) -> None:
    counts = counts_of()
    source = write_h5ad(small_anndata(counts, form=form), tmp_path / "a.h5ad")

    cellucid_dask.export(source, tmp_path / "out", **OPTIONS, gene_identifiers=["gene7", "gene2"])

    export = check(tmp_path / "out")
    for gene in (7, 2):
        np.testing.assert_allclose(
            export.gene(f"gene{gene}"), normalized(counts)[:, gene], rtol=2e-7
        )


def test_values_stored_twice_are_one_count(tmp_path: Path) -> None:
    twice = sparse.csr_matrix(
        (np.array([2, 3, 1], "f4"), np.array([1, 1, 0]), np.array([0, 3, 3])), shape=(2, 2)
    )
    adata = small_anndata(np.zeros((2, 2), "f4"), extras=False)
    adata.X = twice

    cellucid_dask.export(adata, tmp_path / "out", **OPTIONS)

    export = check(tmp_path / "out")
    np.testing.assert_allclose(export.gene("gene1"), [np.log1p(1e4 * 5 / 6), 0], rtol=2e-7)
    assert twice.nnz == 3, "the source was changed"


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_what_is_no_count_is_refused(tmp_path: Path, form: str, value: float) -> None:
    counts = counts_of()
    counts[5, 5] = value
    with pytest.raises(ExportError, match=r"X holds .*negative or not finite.*layer"):
        cellucid_dask.export(small_anndata(counts, form=form), tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out" / "dataset_identity.json").exists()


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_totals_too_large_for_counts(tmp_path: Path, form: str) -> None:
    counts = counts_of().astype(np.float64)
    counts[5, 5] = 1e30
    with pytest.raises(ExportError, match="add up to 1e"):
        cellucid_dask.export(small_anndata(counts, form=form), tmp_path / "out", **OPTIONS)


def test_normalized_data_are_warned_of(tmp_path: Path) -> None:
    adata = small_anndata(np.log1p(counts_of()))
    with pytest.warns(ExportWarning, match="X holds values that are not integers"):
        cellucid_dask.export(adata, tmp_path / "out", **OPTIONS)


def test_raw_counts_are_warned_of_unless_normalized(tmp_path: Path) -> None:
    adata = small_anndata(counts_of())
    raw = cellucid_dask.export(adata, tmp_path / "raw", progress=False)
    assert any('normalize="log1p-cp10k"' in text for text in raw.warnings)
    result = cellucid_dask.export(adata, tmp_path / "out", **OPTIONS)
    assert not any("counts" in text for text in result.warnings)


def test_identity_says_so(tmp_path: Path) -> None:
    adata = small_anndata(counts_of())
    folder = tmp_path / "out"

    def said() -> Any:
        identity = json.loads((folder / "dataset_identity.json").read_text())
        return identity["export_settings"].get("normalize", "nothing")

    cellucid_dask.export(adata, folder, **OPTIONS)
    assert said() == "log1p-cp10k"
    plain = OPTIONS | {"normalize": None, "genes_only": True, "force": True}
    cellucid_dask.export(adata, folder, **plain)
    assert said() == "nothing"
    cellucid_dask.export(adata, folder, **plain | {"normalize": "log1p-cp10k"})
    assert said() == "log1p-cp10k"


def test_plan_counts_the_totals() -> None:
    csc = small_anndata(counts_of(), form="csc")
    plan = cellucid_dask.plan(csc, normalize="log1p-cp10k")
    assert plan.shared_memory >= 8 * csc.n_obs
    assert plan.peak_memory > plan.task_memory * plan.n_workers
    csr = small_anndata(counts_of(), form="csr")
    assert cellucid_dask.plan(csr, normalize="log1p-cp10k").shared_memory == 0


def test_unknown_way(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose log1p-cp10k"):
        cellucid_dask.export(small_anndata(), tmp_path / "out", normalize="tpm")
