"""The same matrix gives the same bytes, in whatever form and by whatever scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from scipy import sparse

import cellucid_dask
from tests.export.forms import (
    FORMS,
    Case,
    assert_same,
    cases,
    csc,
    csr,
    dense,
    export,
    export_form,
    in_dask,
)
from tests.viewer_reader import assert_gene, check

FEW = settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FEW
@given(case=cases())
def test_values_are_those_of_the_matrix(case: Case) -> None:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "export"
        cellucid_dask.export(csr(case), target, **case.options)
        result = check(target)
        with np.errstate(over="ignore"):
            values = case.dense.astype(np.float32)
        for index, gene in enumerate(result.genes):
            assert_gene(result, gene, values[:, index], case.quantization)


@pytest.mark.parametrize("form", FORMS)
@FEW
@given(case=cases())
def test_every_form(form: str, case: Case) -> None:
    expected = export(csr(case), case.options)
    assert_same(export_form(form, case), expected)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("form", ["h5ad csr", "dask csr", "zarr v3 dense"])
@FEW
@given(case=cases())
def test_every_scheduler(
    form: str,
    scheduler: str,
    case: Case,
) -> None:
    expected = export(csr(case), case.options)
    with dask.config.set(scheduler=scheduler):
        assert_same(export_form(form, case), expected)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as running:
        yield running


@pytest.mark.parametrize("form", ["csc", "h5ad csr", "backed csc", "dask csr", "zarr v2 dense"])
@settings(FEW, max_examples=4)
@given(case=cases())
def test_distributed(
    cluster: LocalCluster,
    form: str,
    case: Case,
) -> None:
    expected = export(csr(case), case.options)
    with Client(cluster):
        assert_same(export_form(form, case), expected)


def test_chosen_genes_in_any_form() -> None:
    matrix = sparse.csr_matrix(np.arange(60, dtype=np.float32).reshape(10, 6) % 7)
    case = Case(matrix, matrix.tocsc(), (3, 2), 8, 6)
    options = {**case.options, "gene_identifiers": ["gene4", "gene0", "gene3"]}

    trees = [
        export(source, options)
        for source in (
            csr(case),
            csc(case),
            dense(case),
            in_dask(case, sparse.csr_matrix),
        )
    ]

    assert {name for name in trees[0] if name.startswith("var/")} == {
        f"var/gene{index}.values.u8.gz" for index in (4, 0, 3)
    }
    for tree in trees[1:]:
        assert_same(tree, trees[0])
