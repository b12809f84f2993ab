"""The same matrix gives the same bytes, in whatever form and by whatever scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anndata as ad
import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, Tree, small_anndata, tree_bytes, write_h5ad, write_zarr
from tests.viewer_reader import assert_gene, check

OPTIONS = SETTINGS | {"obs_keys": ["cell_type", "score"]}
DTYPES = ["float32", "float64", "int32", "uint8", "bool"]
ODD_NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.1, 1e-45, 3e38, 1e300, np.nan, np.inf, -np.inf]
FEW = settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Case:
    """One matrix, as CSR and as CSC with all their liberties, and how to cut and store it."""

    csr: Any
    csc: Any
    chunks: tuple[int, int]
    quantization: int | None
    compression: int | None

    @property
    def dense(self) -> Any:
        return self.csr.toarray()

    @property
    def options(self) -> dict[str, Any]:
        return {
            **OPTIONS,
            "var_quantization": self.quantization,
            "compression": self.compression,
        }


def compress(rows: Any, values: Any, columns: Any, n_rows: int) -> tuple[Any, Any, Any]:
    """Return data, indices and indptr, leaving entries of a row in the order given."""
    order = np.argsort(rows, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
    return values[order], columns[order], indptr


def numbers(dtype: str) -> st.SearchStrategy[Any]:
    if dtype.startswith("float"):
        return st.sampled_from(ODD_NUMBERS) | st.floats(-1e6, 1e6, width=32)
    return st.booleans() if dtype == "bool" else st.integers(0, 100)


@st.composite
def entries(draw: st.DrawFn, n_cells: int, n_genes: int, dtype: str) -> list[Any]:
    """Stored values in any order: some twice in one place, some zero, some genes constant."""
    places = st.tuples(st.integers(0, n_cells - 1), st.integers(0, n_genes - 1))
    stored = draw(st.dictionaries(places, numbers(dtype), max_size=60))
    for gene in draw(st.sets(st.integers(0, n_genes - 1), max_size=2)):
        value = draw(numbers(dtype))
        stored |= {(cell, gene): value for cell in range(n_cells)}
    twice = draw(st.sets(st.sampled_from(sorted(stored)))) if stored else set()
    again = [(place, draw(numbers(dtype))) for place in sorted(twice)]
    return draw(st.permutations([*stored.items(), *again]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_cells, n_genes = draw(st.integers(1, 25)), draw(st.integers(1, 7))
    dtype = draw(st.sampled_from(DTYPES))
    quantization = draw(st.sampled_from([8, 16, None]))
    stored = draw(entries(n_cells, n_genes, dtype))
    rows = np.array([place[0] for place, _ in stored], dtype=np.int32)
    columns = np.array([place[1] for place, _ in stored], dtype=np.int32)
    with np.errstate(over="ignore"):
        values = np.array([value for _, value in stored], dtype=np.float64).astype(dtype)
    if dtype.startswith("float") and quantization is None:
        values = values + values.dtype.type(0)  # no negative zeros: a dense form may lose them
    shape = (n_cells, n_genes)
    return Case(
        sparse.csr_matrix(compress(rows, values, columns, n_cells), shape=shape),
        sparse.csc_matrix(compress(columns, values, rows, n_genes), shape=shape),
        (draw(st.integers(1, n_cells)), draw(st.integers(1, n_genes))),
        quantization,
        draw(st.sampled_from([None, 1, 6])),
    )


bare = partial(small_anndata, extras=False)


def csr(case: Case) -> ad.AnnData:
    return bare(case.csr, form="csr")


def csc(case: Case) -> ad.AnnData:
    return bare(case.csc, form="csc")


def dense(case: Case) -> ad.AnnData:
    return bare(case.dense, form="dense")


def in_dask(case: Case, block: Callable[[Any], Any]) -> ad.AnnData:
    adata = csr(case)
    adata.X = da.from_array(case.dense, chunks=case.chunks).map_blocks(block)
    return adata


def export(source: Any, options: dict[str, Any]) -> Tree:
    with TemporaryDirectory() as folder:
        cellucid_dask.export(source, Path(folder) / "export", **options)
        return tree_bytes(Path(folder) / "export")


def export_form(form: str, case: Case) -> Tree:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"source{FILES.get(form.split(maxsplit=1)[0], '')}"
        source = FORMS[form](case, path)
        tree = export(source, case.options)
        if form.startswith("backed"):
            source.file.close()
        return tree


def backed(path: Path) -> ad.AnnData:
    return ad.read_h5ad(path, backed="r")


FORMS: dict[str, Callable[[Case, Path], Any]] = {
    "csc": lambda case, _: csc(case),
    "dense": lambda case, _: dense(case),
    "fortran": lambda case, _: bare(np.asfortranarray(case.dense), form="dense"),
    "csr_array": lambda case, _: bare(sparse.csr_array(case.csr), form="csr"),
    "dask dense": lambda case, _: in_dask(case, np.asarray),
    "dask csr": lambda case, _: in_dask(case, sparse.csr_matrix),
    "dask csc": lambda case, _: in_dask(case, sparse.csc_array),
    "h5ad csr": lambda case, path: write_h5ad(csr(case), path),
    "h5ad csc lzf": lambda case, path: write_h5ad(csc(case), path, compression="lzf"),
    "h5ad dense": lambda case, path: write_h5ad(dense(case), path),
    "h5ad plain": lambda case, path: write_h5ad(csr(case), path, compression=None),
    "backed csr": lambda case, path: backed(write_h5ad(csr(case), path)),
    "backed csc": lambda case, path: backed(write_h5ad(csc(case), path)),
    "backed dense": lambda case, path: backed(write_h5ad(dense(case), path)),
    "zarr v2 csr": lambda case, path: write_zarr(csr(case), path, version=2),
    "zarr v2 dense": lambda case, path: write_zarr(dense(case), path, version=2),
    "zarr v3 csr": lambda case, path: write_zarr(csr(case), path, version=3),
    "zarr v3 csc": lambda case, path: write_zarr(csc(case), path, version=3),
    "zarr v3 dense": lambda case, path: write_zarr(dense(case), path, version=3),
}
FILES = {"zarr": ".zarr", "h5ad": ".h5ad", "backed": ".h5ad"}


def assert_same(tree: Tree, expected: Tree) -> None:
    assert sorted(tree) == sorted(expected)
    different = [name for name, data in tree.items() if data != expected[name]]
    assert not different


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


@pytest.fixture(scope="module")
def larger() -> Any:
    """Return a matrix of a million stored values, with a gene in every cell and one in none."""
    random = np.random.default_rng(11)
    matrix = random.poisson(0.12, size=(140_000, 80)).astype(np.float32)
    matrix[:, 5], matrix[:, 6] = 1 + matrix[:, 5], 0
    return sparse.csr_matrix(matrix)


@pytest.fixture(scope="module")
def larger_sources(larger: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("larger")
    return {
        "csr": write_h5ad(bare(larger), folder / "csr.h5ad"),
        "csc": write_h5ad(bare(larger, form="csc"), folder / "csc.h5ad"),
        "dense": write_h5ad(bare(larger, form="dense"), folder / "dense.h5ad"),
        "rows": write_zarr(bare(larger, form="dense"), folder / "rows.zarr", chunks=(5_000, 80)),
    }


@pytest.fixture(scope="module")
def larger_tree(larger_sources: dict[str, Path]) -> dict[str, bytes]:
    return export(larger_sources["csr"], OPTIONS)


@pytest.mark.parametrize(
    "reading", list(product(["csr", "csc", "dense", "rows"], ["40MiB", "100MB", 2**29, None]))
)
def test_any_memory_budget(
    larger_sources: dict[str, Path],
    larger_tree: Tree,
    tmp_path: Path,
    reading: tuple[str, int | str | None],
) -> None:
    storage, memory_budget = reading
    options = {**OPTIONS, "memory_budget": memory_budget, "scratch": str(tmp_path)}

    with dask.config.set(num_workers=1):
        tree = export(larger_sources[storage], options)

    assert_same(tree, larger_tree)
    assert not list(tmp_path.iterdir()), "scratch is left behind"


@pytest.mark.parametrize(
    "chunks", [(140_000, 1), (3_000, 80), (9_999, 31), ((1, 139_999), (7, 73))]
)
@pytest.mark.parametrize("block", [np.asarray, sparse.csr_matrix])
def test_any_chunks(
    larger: Any,
    larger_tree: Tree,
    chunks: Any,
    block: Callable[[Any], Any],
) -> None:
    adata = bare(larger)
    adata.X = da.from_array(larger.toarray(), chunks=chunks).map_blocks(block)

    assert_same(export(adata, OPTIONS), larger_tree)


def test_lazy_change_of_the_matrix(larger: Any) -> None:
    adata = bare(larger)
    expected = export(bare(larger.log1p()), OPTIONS)
    blocks = da.from_array(larger.toarray(), chunks=(20_000, 80)).map_blocks(sparse.csr_matrix)
    adata.X = blocks.map_blocks(lambda block: block.log1p(), dtype=np.float32)

    assert_same(export(adata, OPTIONS), expected)


@pytest.mark.slow
def test_processes(larger_sources: dict[str, Path], larger_tree: Tree) -> None:
    with dask.config.set(scheduler="processes", num_workers=2):
        assert_same(export(larger_sources["csr"], OPTIONS), larger_tree)


@pytest.mark.parametrize(
    ("storage", "route"), [("csr", "scratch"), ("csc", "direct"), ("rows", "scratch")]
)
def test_routes(larger_sources: dict[str, Path], storage: str, route: str) -> None:
    with dask.config.set(num_workers=1):
        plan = cellucid_dask.plan(larger_sources[storage], memory_budget="20MiB")

    assert plan.route == route
    assert plan.peak_memory <= 20 * 2**20


def test_planning_writes_nothing(larger_sources: dict[str, Path], tmp_path: Path) -> None:
    cellucid_dask.plan(larger_sources["csr"], tmp_path / "export")

    assert not list(tmp_path.iterdir())
