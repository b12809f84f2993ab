"""Bytes of genes of 8 bits: this package, zlib and zlib-ng on the same codes.

python -m tests.benchmarks.sizes [FILE.h5ad ...]
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Any

import anndata as ad
import numpy as np
from zlib_ng import zlib_ng

from cellucid_dask.encode.compress import compress
from cellucid_dask.encode.genes import quantize

_MAX_GENES = 400


def made(n_cells: int, density: float, kind: str) -> Any:
    """Make codes of counts, of these normalized, or of two batches one after the other."""
    random = np.random.default_rng(n_cells)
    share = np.full(n_cells, density)
    if kind == "batches":
        share[n_cells // 2 :] /= 8
    counts = random.poisson(-np.log1p(-np.minimum(share, 0.99)))
    depth = random.lognormal(0, 0.4, n_cells)
    values = counts if kind == "counts" else np.log1p(counts / depth * 10)
    return quantize(values.astype(np.float32), 8)[0]


def stored(file: str) -> Iterator[Any]:
    """Read some genes of a file."""
    matrix = ad.read_h5ad(file).X
    for gene in range(0, matrix.shape[1], -(-matrix.shape[1] // _MAX_GENES)):
        column = matrix[:, [gene]]
        column = column.toarray() if hasattr(column, "toarray") else np.asarray(column)
        yield quantize(column[:, 0].astype(np.float32), 8)[0]


def row(name: str, genes: list[Any]) -> str:
    """Return a row of the table."""
    ours = [len(compress(codes, 6)) for codes in genes]
    usual = [len(_deflate(zlib.compressobj(6, zlib.DEFLATED, 31), codes)) for codes in genes]
    runs = [
        len(_deflate(zlib_ng.compressobj(6, zlib_ng.DEFLATED, 31, 9, zlib_ng.Z_RLE), codes))
        for codes in genes
    ]
    worst = max(mine - theirs for mine, theirs in zip(ours, usual, strict=True))
    return (
        f"| {name} | {sum(ours):,} | {sum(usual):,} | {sum(ours) / sum(usual):.2f} "
        f"| {sum(runs):,} | {worst:+,} |"
    )


def _deflate(compressor: Any, codes: Any) -> bytes:
    return bytes(compressor.compress(codes.tobytes()) + compressor.flush())


def main() -> None:
    """Print the table."""
    print("| codes | ours | zlib 6 | ratio | zlib-ng, runs only | worst gene against zlib 6 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in ("normalized", "counts", "batches"):
        for n_cells in (50, 5_000, 1_000_000):
            for density in (0.001, 0.01, 0.06, 0.2, 0.5, 1.0):
                name = f"{kind}, {n_cells:,} cells, density {density}"
                print(row(name, [made(n_cells, density, kind)]), flush=True)
    for file in sys.argv[1:]:
        print(row(file.rpartition("/")[2], list(stored(file))), flush=True)


if __name__ == "__main__":
    main()
