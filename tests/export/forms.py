"""One matrix in every form that a source may have it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from tests.helpers import SETTINGS, Tree, small_anndata, tree_bytes, write_h5ad, write_zarr

OPTIONS = SETTINGS | {"obs_keys": ["cell_type", "score"]}
DTYPES = ["float32", "float64", "int32", "uint8", "bool"]
ODD_NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.1, 1e-45, 3e38, 1e300, np.nan, np.inf, -np.inf]


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
