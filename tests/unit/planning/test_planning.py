"""A plan covers the matrix once and keeps to its budget."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cellucid_dask import RequestError
from cellucid_dask.planning import ExportPlan, Layout, make_plan

MIB = 2**20


def plan_of(layout: Layout, budget: int, workers: int, **options: Any) -> ExportPlan:
    return make_plan(layout, bits=8, memory_budget=budget, n_workers=workers, **options)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Draw a matrix of any storage: what planning is told of it."""
    n_cells = draw(st.integers(1, 200_000))
    n_genes = draw(st.integers(1, 3_000))
    chosen = draw(st.sampled_from([1, 2, 7]))
    columns = np.arange(0, n_genes, chosen)
    storage = draw(st.sampled_from(["csr", "csc", "dense", "blocks"]))
    common: dict[str, Any] = {
        "shape": (n_cells, n_genes),
        "dtype": np.dtype(draw(st.sampled_from(["f4", "f8", "u1", "i8"]))),
        "columns": columns,
        "value_nbytes": 8,
    }
    if storage == "dense":
        chunk = draw(st.tuples(st.integers(1, n_cells), st.integers(1, n_genes)))
        return Layout(**common, storage="dense", chunk=chunk, row_major=draw(st.booleans()))
    if storage == "blocks":
        height = draw(st.integers(1, n_cells))
        rows = tuple(min(height, n_cells - at) for at in range(0, n_cells, height))
        return Layout(**common, storage="csr", fixed_blocks=(rows, (n_genes,)))
    n_major = n_cells if storage == "csr" else n_genes
    random = np.random.default_rng(draw(st.integers(0, 100)))
    most = (n_genes if storage == "csr" else n_cells) // draw(st.sampled_from([1, 10, 1000])) + 1
    counts = random.integers(0, most, n_major)
    if draw(st.booleans()):  # one full row or gene among near-empty ones
        counts[random.integers(n_major)] = n_genes if storage == "csr" else n_cells
    indptr = np.concatenate([[0], np.cumsum(counts)])
    chunk = (draw(st.sampled_from([1, 10_000, 1_000_000])), 1)
    return Layout(**common, storage=storage, indptr=indptr, chunk=chunk)


def least_of(error: RequestError) -> int:
    """Return the MiB that the refusal of a budget says would do."""
    found = re.search(r"at least (\d+) MiB", str(error))
    assert found, error
    return int(found[1])


@given(layouts(), st.integers(20, 2000), st.integers(1, 16), st.booleans())
def test_plan_covers_the_matrix_within_the_budget(
    layout: Layout,
    mebibytes: int,
    workers: int,
    shared: bool,
) -> None:
    budget = mebibytes * MIB
    refusal: RequestError | None = None
    try:
        plan = plan_of(layout, budget, workers, shared_disk=shared)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert least_of(refusal) > mebibytes
        return
    assert (sum(plan.row_blocks), sum(plan.gene_blocks)) == layout.shape
    assert min(plan.row_blocks) > 0
    assert min(plan.gene_blocks) > 0
    assert sum(plan.encode_blocks) == len(layout.columns)
    assert plan.route == "direct" or len(plan.row_blocks) > 1
    assert plan.route != "direct" or len(plan.row_blocks) == 1 or layout.storage == "dense"
    assert plan.route == "direct" or shared == (plan.route == "scratch")
    if layout.fixed_blocks is None:
        assert plan.peak_memory <= budget


@given(layouts(), st.integers(1, 8))
def test_the_least_that_works_works(layout: Layout, workers: int) -> None:
    try:
        plan_of(layout, MIB, workers)
        assume(False)  # noqa: FBT003
    except RequestError as error:
        least = least_of(error)
    assert plan_of(layout, least * MIB, workers).peak_memory <= least * MIB


@given(layouts(), st.integers(100, 2000))
def test_no_block_holds_more_than_its_task(layout: Layout, mebibytes: int) -> None:
    assume(layout.fixed_blocks is None)
    try:
        plan = plan_of(layout, mebibytes * MIB, 2)
    except RequestError:
        return
    if layout.storage == "dense":  # whole rows also transposed; some genes come that way
        copies = 2 if plan.gene_blocks == layout.shape[1:] else 1
        held = max(plan.row_blocks) * max(plan.gene_blocks) * copies * layout.dtype.itemsize
        assert held <= plan.task_memory
        return
    sizes = plan.row_blocks if layout.storage == "csr" else plan.gene_blocks
    edges = np.cumsum((0, *sizes))
    values = np.diff(np.asarray(layout.indptr)[edges])
    assert values.max() * layout.value_nbytes <= plan.task_memory


@given(st.sets(st.integers(0, 999), min_size=1, max_size=40))
@example({3, 4, 5, 400, 999})
def test_unselected_genes_of_csc_are_not_read(chosen: set[int]) -> None:
    columns = np.array(sorted(chosen))
    layout = Layout(
        shape=(1000, 1000), dtype=np.dtype("f4"), storage="csc", columns=columns,
        value_nbytes=8, indptr=np.arange(0, 1_001_000, 1000),
    )  # fmt: skip
    plan = plan_of(layout, 512 * MIB, 2)
    edges = np.cumsum((0, *plan.gene_blocks))
    held = [np.isin(np.arange(a, b), columns) for a, b in itertools.pairwise(edges)]
    assert all(block.all() or not block.any() for block in held)
    assert sum(plan.gene_blocks) == 1000
    assert sum(plan.encode_blocks) == len(columns)


def test_plan_reads_well() -> None:
    layout = Layout(
        shape=(10, 5), dtype=np.dtype("f4"), storage="csr", columns=np.arange(5),
        value_nbytes=8, indptr=np.arange(11),
    )  # fmt: skip
    text = str(plan_of(layout, 512 * MIB, 2))
    assert "10 cells x 5 genes" in text
    assert "direct" in text
    assert "1 block of" in text


def least_budget(layout: Layout) -> int:
    with pytest.raises(RequestError) as refusal:
        plan_of(layout, MIB, 2)
    return int(re.findall(r"at least (\d+) MiB", str(refusal.value))[0]) * MIB


@pytest.mark.parametrize("storage", ["csr", "csc"])
@pytest.mark.parametrize("n_chunks", [1, 3, 50])
def test_no_chunk_is_read_for_many_blocks(storage: Any, n_chunks: int) -> None:
    """A small budget may not make every block decode the whole of a large chunk again."""
    n_cells, n_genes, per_line = 20_000, 5_000, 500
    n_major = n_cells if storage == "csr" else n_genes
    indptr = np.arange(n_major + 1) * per_line
    chunk = -(-int(indptr[-1]) // n_chunks)
    layout = Layout(
        shape=(n_cells, n_genes), dtype=np.dtype("f4"), storage=storage, value_nbytes=8,
        columns=np.arange(n_genes), indptr=indptr, chunk=(chunk, 1),
    )  # fmt: skip
    plan = plan_of(layout, least_budget(layout), 2)
    blocks = plan.row_blocks if storage == "csr" else plan.gene_blocks
    assert len(blocks) <= 2 * n_chunks
