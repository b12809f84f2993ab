"""The compiled kernel on random input, under AddressSanitizer and UndefinedBehaviorSanitizer.

    python tests/fuzz_kernel.py [CASES] [SEED]

compiles the kernel with the sanitizers into a copy of the package and runs the cases there.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import zlib
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
_BUILD = "cellucid_dask/kernel/csrc/build.py"
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
Random = np.random.Generator


def sanitizer() -> str | None:
    """Return the path of AddressSanitizer's library; ``None`` without a compiler that has it."""
    command = runpy.run_path(str(ROOT / _BUILD))["compiler"]()
    if command is None or sys.platform != "linux":
        return None
    for name in ("libasan.so", f"libclang_rt.asan-{os.uname().machine}.so"):
        found = subprocess.run(
            [*command, f"-print-file-name={name}"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if Path(found).is_absolute() and Path(found).exists():
            return found
    return None


def run(n_cases: int, seed: int = 0) -> subprocess.CompletedProcess[str]:
    """Run cases in a process with the sanitizers; what they find is in its output."""
    with tempfile.TemporaryDirectory() as folder:
        without = shutil.ignore_patterns("__pycache__", "page", "_kernel.so")
        shutil.copytree(ROOT / "cellucid_dask", Path(folder, "cellucid_dask"), ignore=without)
        shutil.copytree(ROOT / "tests", Path(folder, "tests"), ignore=without)
        runpy.run_path(str(Path(folder, _BUILD)))["compile_kernel"](_SANITIZERS)
        environment = os.environ | {
            "LD_PRELOAD": sanitizer() or "",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "PYTHONPATH": folder,
            "PYTHONMALLOC": "malloc",  # so that what Python allocates is guarded too
        }
        script = "from tests.fuzz_kernel import cases; cases(int(sys.argv[1]), int(sys.argv[2]))"
        return subprocess.run(
            [sys.executable, "-c", f"import sys; {script}", str(n_cases), str(seed)],
            env=environment, cwd=folder, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def cases(n_cases: int, seed: int) -> None:
    """Run all kinds of cases in this process."""
    kinds = [vector, numbers, genes, rows]
    for case in range(seed, seed + n_cases):
        try:
            kinds[case % len(kinds)](np.random.default_rng(case))
        except BaseException:
            print(f"case {case}", flush=True)
            raise
    print(f"{n_cases} cases from {seed} on passed")


def exact(array: Any) -> Any:
    """Copy an array into memory of its own, so that a step beyond its end is seen."""
    return np.array(array, order="C")


def vector(random: Random) -> None:
    """Encode a vector into a buffer of the size that is promised to be enough."""
    from cellucid_dask.encode.compress import member_bound
    from cellucid_dask.kernel.library import address, library
    from tests.codes import FAMILIES

    names = sorted(FAMILIES)
    codes = exact(FAMILIES[names[random.integers(len(names))]](random)[:40_000])
    buffer, again = np.empty(member_bound(codes.size), np.uint8), np.empty(1, bool)
    pointers = address(buffer), buffer.size, address(again)
    size = library().cellucid_member(address(codes), codes.size, *pointers)
    assert size > 0, size
    assert zlib.decompress(exact(buffer[:size]), 31) == codes.tobytes()
    small = np.empty(int(random.integers(0, size)), np.uint8)
    pointers = address(small), small.size, address(again)
    assert library().cellucid_member(address(codes), codes.size, *pointers) == -1


def numbers(random: Random) -> None:
    """Compress numbers of few kinds, that ascend, or that come again, as a zlib stream."""
    from cellucid_dask.encode.compress import compress_numbers

    length = int(random.integers(0, random.choice([20, 2_000, 40_000])))
    kinds = random.integers(0, 2 ** random.integers(1, 33), random.choice([1, 3, 50, 20_000]))
    values = random.choice(kinds, length)
    if random.random() < 0.5:
        values = np.cumsum(values % random.choice([2, 30, 3_000]))
    if random.random() < 0.3:
        values = np.resize(values[: random.integers(0, length + 1)], length)
    values = exact(values.astype(random.choice(["<i4", "<f4", "<f8"])))
    for shuffled in (False, True):
        plain = values.view(np.uint8).reshape(-1, values.itemsize)
        stream = exact(np.frombuffer(compress_numbers(values, shuffled=shuffled), np.uint8))
        assert zlib.decompress(stream) == (plain.T if shuffled else plain).tobytes()


def genes(random: Random) -> None:
    """Encode genes of tiles of all kinds, and of tiles that are damaged."""
    from cellucid_dask.encode.gene_vectors import GeneVectors
    from cellucid_dask.encode.genes import encode_genes
    from cellucid_dask.encode.tiles import DenseTile, SparseTile, tiles_of
    from cellucid_dask.errors import ExportError

    shape = int(random.integers(1, random.choice([5, 300, 2000]))), int(random.integers(1, 6))
    dtype = random.choice(["?", "i1", "u1", "i2", "u2", "f2", "f4", "f8", "i8"])
    is_exact = bool(random.integers(2))
    scale = 2**40 if np.dtype(dtype).itemsize == 8 and is_exact else 50
    with np.errstate(all="ignore"):
        matrix = (random.normal(size=shape) ** 3 * scale).astype(dtype)
    matrix[random.random(shape) < random.random()] = 0
    if np.dtype(dtype).kind == "f" and not is_exact:
        matrix[random.random(shape) < 0.05 * random.random()] = random.choice([np.nan, np.inf])
    cuts = np.sort(random.integers(0, shape[0] + 1, 2)).tolist()
    tiles: list[Any] = []
    for start, stop in zip([0, *cuts], [*cuts, shape[0]], strict=True):
        tiles += tiles_of(matrix[start:stop], start, tile_values=1, exact=is_exact)
    for bits in (8, 16, None):
        expected = GeneVectors([DenseTile(0, exact(matrix.T.astype(np.float32)))], shape[0])
        vectors = expected.vectors(0, shape[1], bits)
        for level in (None, 6):
            files = chain.from_iterable(encode_genes(tiles, shape[0], bits, level).files)
            for file, codes in zip(files, vectors, strict=True):
                plain = bytes(file) if level is None else zlib.decompress(file, 31)
                assert plain == codes.tobytes()
    wide = any(tile.values.dtype == np.float64 for tile in tiles)
    with np.errstate(all="ignore"):
        stored = matrix.astype(np.float64 if wide else np.float32)
    counts = np.count_nonzero(stored, axis=0)
    values, cells = GeneVectors(tiles, shape[0]).columns(0, counts, stored.dtype)
    np.testing.assert_array_equal(values, stored.T[stored.T != 0])
    np.testing.assert_array_equal(cells, np.nonzero(stored.T)[1])
    sparse = [tile for tile in tiles if isinstance(tile, SparseTile) and len(tile.cells)]
    if sparse:
        tile = sparse[0]
        cells, indptr = exact(tile.cells), exact(tile.indptr)
        if random.random() < 0.5:
            cells[random.integers(len(cells))] = random.integers(0, 2**16)
        else:
            indptr[random.integers(len(indptr))] = random.integers(-9, 2**40)
        tile = SparseTile(tile.first_cell, tile.n_cells, indptr, cells, exact(tile.values))
        for bits, level in ((8, 6), (8, None), (16, None)):
            with suppress(ExportError):
                list(encode_genes([tile], shape[0], bits, level).files)
        with suppress(ExportError):
            GeneVectors([tile], shape[0]).columns(
                0, exact(counts + random.integers(0, 2, counts.size))
            )


def rows(random: Random) -> None:
    """Transpose rows with entries in any order, more than once, or out of range."""
    from scipy import sparse

    from cellucid_dask.encode.tiles import tiles_of
    from cellucid_dask.encode.transpose import Transpose
    from cellucid_dask.errors import ExportError

    n_rows, n_columns = int(random.integers(1, 60)), int(random.integers(1, 40))
    indptr = np.concatenate([[0], np.cumsum(random.integers(0, 9, n_rows))])
    columns = random.integers(0, n_columns, indptr[-1])
    values = random.integers(-100, 100, indptr[-1]).astype(
        random.choice(["?", "i1", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
    )
    block = sparse.csr_matrix((n_rows, n_columns), dtype=values.dtype)
    block.data, block.indptr = exact(values), indptr.astype(random.choice([np.int32, np.int64]))
    block.indices = columns.astype(random.choice([np.int32, np.int64]))
    kept = np.flatnonzero(random.random(n_columns) < 0.5) if random.random() < 0.5 else None
    if random.random() < 0.5:  # checked values
        found = np.zeros((n_columns if kept is None else len(kept), n_rows), np.float32)
        for tile in tiles_of(block, 0, kept, tile_values=int(random.integers(1, 200))):
            for gene in range(tile.n_genes):
                part = slice(tile.indptr[gene], tile.indptr[gene + 1])
                found[gene, tile.first_cell + tile.cells[part].astype(int)] = tile.values[part]
        dense = block.toarray().T.astype(np.float32)
        np.testing.assert_array_equal(found, dense if kept is None else dense[kept])
        return
    where = [block.indices, block.indptr][random.integers(2)]
    if len(where):
        where[random.integers(len(where))] = random.integers(-(2**31), 2**31)
    with suppress(ExportError):
        transpose = Transpose(block, kept)
        transpose.sort(0, n_rows, transpose.count(0, n_rows))


if __name__ == "__main__":
    finished = run(*map(int, sys.argv[1:] or ["200000"]))
    print(finished.stdout)
    sys.exit(finished.returncode)
