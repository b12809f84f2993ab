"""Atlases of any size, written a block at a time so that making them needs little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import zarr
from scipy import sparse

Storage = Literal["csr", "dense", "zarr"]
STORAGES: tuple[str, ...] = get_args(Storage)

DENSITY = 0.06
BLOCK_CELLS = 5_000
BLOCKS = 4  # distinct ones; an atlas repeats them, every time in another order of cells
CELL_TYPES = [f"type {number:02}" for number in range(24)]


def dataset(folder: Path, cells: int, genes: int, storage: Storage = "csr") -> Path:
    """Return the path of an atlas, which is made unless it is there already."""
    suffix = "zarr" if storage == "zarr" else "h5ad"
    path = folder / f"{cells}x{genes}-{storage}.{suffix}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished-{path.name}")
        _write(unfinished, cells, genes, storage)
        unfinished.rename(path)
    return path


def _write(path: Path, cells: int, genes: int, storage: Storage) -> None:
    frame = _without_expression(cells, genes)
    if storage == "zarr":
        frame.write_zarr(path)
        _write_sparse(zarr.open_group(path, mode="r+"), cells, genes)
        zarr.consolidate_metadata(path)
        return
    frame.write_h5ad(path, compression="gzip", compression_opts=4)
    with h5py.File(path, "r+") as file:
        if storage == "csr":
            _write_sparse(file, cells, genes)
        else:
            _write_dense(file, cells, genes)


def _without_expression(cells: int, genes: int) -> ad.AnnData:
    random = np.random.default_rng(0)
    types = random.integers(0, len(CELL_TYPES), cells)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(types, CELL_TYPES),
            "donor": pd.Categorical(random.choice([f"donor {n}" for n in range(8)], cells)),
            "n_counts": random.lognormal(8.5, 0.4, cells).astype(np.float32),
            "pct_mito": random.beta(2, 30, cells),
        },
        index=pd.Index([f"cell-{number}" for number in range(cells)]),
    )
    var = pd.DataFrame(index=pd.Index([f"GENE{number}" for number in range(genes)]))
    centers = random.normal(0, 8, (len(CELL_TYPES), 2))
    umap = centers[types] + random.normal(size=(cells, 2))
    return ad.AnnData(obs=obs, var=var, obsm={"X_umap": umap.astype(np.float32)})


def _blocks(cells: int, genes: int) -> Iterator[sparse.csr_matrix]:
    """Yield the rows of the matrix, block after block."""
    prepared = [_block(seed, genes) for seed in range(min(BLOCKS, -(-cells // BLOCK_CELLS)))]
    random = np.random.default_rng(1)
    for number, first in enumerate(range(0, cells, BLOCK_CELLS)):
        order = random.permutation(BLOCK_CELLS)[: cells - first]
        yield prepared[number % BLOCKS][order]


def _block(seed: int, genes: int) -> sparse.csr_matrix:
    """Draw Poisson counts for log-normal genes in cells of varying depth; then log1p of them.

    The counts of a gene are so many cells drawn in proportion to their depth, which
    costs as much time as there are counts rather than entries.
    """
    abundance = np.random.default_rng(2).lognormal(0, 1.7, genes)
    for _ in range(30):
        abundance *= DENSITY / -np.expm1(-abundance).mean()
    random = np.random.default_rng((3, seed))
    depth = random.lognormal(0, 0.5, BLOCK_CELLS)
    share = np.cumsum(depth / depth.sum())
    counts = random.poisson(abundance * BLOCK_CELLS)
    gene = np.repeat(np.arange(genes, dtype=np.int32), counts)
    cell = np.searchsorted(share[:-1], random.random(gene.size, dtype=np.float32))
    ones = np.ones(gene.size, dtype=np.float32)
    block = sparse.csr_matrix((ones, (cell, gene)), shape=(BLOCK_CELLS, genes))
    totals = np.maximum(np.asarray(block.sum(axis=1)).ravel(), 1)
    block.data = np.log1p(block.data / np.repeat(totals, np.diff(block.indptr)) * 1e4)
    block.data = block.data.astype(np.float32)
    return block


def _write_sparse(root: Any, cells: int, genes: int) -> None:
    total = sum(block.nnz for block in _blocks(cells, genes))
    index = np.dtype(np.int32 if total < 2**31 else np.int64)
    if "X" in root:
        del root["X"]
    group = root.create_group("X")
    group.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [cells, genes]}
    )
    data = _array(group, "data", (total,), np.dtype(np.float32))
    indices = _array(group, "indices", (total,), index)
    indptr = np.zeros(cells + 1, dtype=index)
    row = entry = 0
    for block in _blocks(cells, genes):
        rows, entries = block.shape[0], block.nnz
        data[entry : entry + entries] = block.data
        indices[entry : entry + entries] = block.indices
        indptr[row + 1 : row + rows + 1] = block.indptr[1:].astype(index) + entry
        row, entry = row + rows, entry + entries
    _array(group, "indptr", indptr.shape, index)[:] = indptr


def _write_dense(root: Any, cells: int, genes: int) -> None:
    if "X" in root:
        del root["X"]
    array = _array(root, "X", (cells, genes), np.dtype(np.float32))
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    row = 0
    for block in _blocks(cells, genes):
        array[row : row + block.shape[0]] = block.toarray()
        row += block.shape[0]


def _array(group: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Create an array with the chunks and compression that anndata would give it."""
    if isinstance(group, zarr.Group):
        chunks = tuple(min(length, 1_000_000) for length in shape)
        return group.create_array(name, shape=shape, dtype=dtype, chunks=chunks)
    return group.create_dataset(
        name, shape=shape, dtype=dtype, chunks=True, compression="gzip", compression_opts=4
    )
