"""A running comparison of stored genes with the rows of their source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from cellucid_dask.encode.quantize import MAX_CODE, as_float32
from cellucid_dask.format.decode import DamageError, Stream, dequantize
from cellucid_dask.format.schema import Vector
from cellucid_dask.types import Array

_TOLERANCE = 1 + 1e-6  # rounding of float64, relative to half a step


class Difference(NamedTuple):
    """A gene that does not match the source.

    Attributes
    ----------
    text
        One sentence about it.
    same_range
        Whether its values are from the lowest to the highest of the source.
    whole, source_whole
        Whether the lowest and highest value are whole numbers, and whether all of the source are.
    """

    text: str
    same_range: bool
    whole: bool
    source_whole: bool


class Comparison:
    """A running comparison of some genes with the rows of their source.

    Parameters
    ----------
    vectors
        The genes.
    files
        Contents of their files, or the errors with which they could not be read.
    slab_values
        Number of values of a dense block that are compared at a time.
    """

    def __init__(
        self,
        vectors: Sequence[Vector],
        files: Sequence[bytes | Exception],
        slab_values: int = 2**22,
    ) -> None:
        self._vectors = vectors
        self._streams: list[Stream | None] = [
            None if isinstance(data, Exception) else Stream(data, vector.compressed)
            for vector, data in zip(vectors, files, strict=True)
        ]
        self._zeros = [zero_codes(vector) for vector in vectors]
        self._n_rows = max(slab_values // max(len(vectors), 1), 1)
        self._n_off = np.zeros(len(vectors), np.int64)
        self._max_error = np.zeros(len(vectors))
        # of the source, for genes that differ
        self._lowest, self._highest = np.full((2, len(vectors)), np.nan, np.float32)
        self._whole = np.ones(len(vectors), bool)

    def feed(self, rows: Any) -> None:
        """Compare the next cells.

        Parameters
        ----------
        rows
            (cells, genes), scipy sparse or dense.
        """
        if sparse.issparse(rows):
            columns = rows.tocsc()
            columns.sum_duplicates()
            values, bounds = as_float32(columns.data), columns.indptr.tolist()
            for gene, (start, stop) in enumerate(pairwise(bounds)):
                at = columns.indices[start:stop]
                self._compare(gene, rows.shape[0], at, values[start:stop])
            return
        for start in range(0, rows.shape[0], self._n_rows):
            slab = np.ascontiguousarray(as_float32(rows[start : start + self._n_rows]).T)
            for gene, expected in enumerate(slab):
                (at,) = np.nonzero(expected)  # NaN is not zero
                self._compare(gene, len(expected), at, expected[at])

    def _compare(self, gene: int, n_rows: int, at: Array, values: Array) -> None:
        """Compare the next values of a gene, of which those `at` some rows are not zero."""
        vector, stream = self._vectors[gene], self._streams[gene]
        if stream is None:
            return
        try:
            data = stream.read(n_rows * np.dtype(vector.dtype).itemsize)
            stored = np.frombuffer(data, vector.dtype)
        except (DamageError, ValueError):
            stored = np.empty(0, vector.dtype)
        if len(stored) != n_rows:  # reported by the scan of the file itself
            self._streams[gene] = None
            return
        zeros = self._zeros[gene]
        if zeros and _count(stored, zeros) - _count(stored[at], zeros) == n_rows - len(at):
            before = self._n_off[gene]
            self._note(gene, stored[at], values)  # all others are zero here and there
            if self._n_off[gene] == before:
                return
            self._n_off[gene] = before
        expected = np.zeros(n_rows, np.float32)
        expected[at] = values
        self._note(gene, stored, expected)
        if self._n_off[gene]:
            finite = expected[np.isfinite(expected)]
            self._lowest[gene] = np.fmin(self._lowest[gene], finite.min(initial=np.inf))
            self._highest[gene] = np.fmax(self._highest[gene], finite.max(initial=-np.inf))
            self._whole[gene] &= bool((finite == np.rint(finite)).all())

    def _note(self, gene: int, stored: Array, expected: Array) -> None:
        vector = self._vectors[gene]
        if vector.value_range is None:
            same = (stored == expected) | (np.isnan(stored) & np.isnan(expected))
            self._n_off[gene] += len(same) - int(same.sum())
            return
        decoded = dequantize(stored, vector.value_range)
        error = np.abs(decoded - expected)  # NaN where either is missing
        off = ~(error <= half_step(vector) * _TOLERANCE)
        if off.any():
            off &= ~(np.isnan(decoded) & ~np.isfinite(expected))
            self._n_off[gene] += int(off.sum())
            finite = np.isfinite(expected) & np.isfinite(decoded)
            self._max_error[gene] = max(self._max_error[gene], error[finite].max(initial=0))

    def differences(self) -> Iterator[Difference]:
        """Report the genes that differ."""
        for gene in np.flatnonzero(self._n_off).tolist():
            vector, n_off = self._vectors[gene], int(self._n_off[gene])
            text = f"{vector.path}: {n_off:,} values of {vector.key!r} do not match the source"
            ends = vector.value_range
            if ends is not None:
                text += (
                    f" (off by up to {self._max_error[gene]:.3g}; "
                    f"half a step is {half_step(vector):.3g})"
                )
            yield Difference(
                text,
                same_range=ends == (float(self._lowest[gene]), float(self._highest[gene])),
                whole=ends is not None and all(each == round(each) for each in ends),
                source_whole=bool(self._whole[gene]),
            )


def half_step(vector: Vector) -> float:
    """Return the largest error that quantization can cause."""
    lowest, highest = vector.value_range or (0.0, 0.0)
    return (highest - lowest) / MAX_CODE[8 * np.dtype(vector.dtype).itemsize] / 2


def zero_codes(vector: Vector) -> list[float]:
    """Return what may be stored for zero: one code or two, or nothing if any code is."""
    if vector.value_range is None:
        return [0.0]
    step = 2 * half_step(vector)
    if not step:
        return []
    lowest, highest = vector.value_range
    max_code = MAX_CODE[8 * np.dtype(vector.dtype).itemsize]
    near = round(-lowest / step)
    return [
        code
        for code in range(max(near - 1, 0), min(near + 1, max_code) + 1)
        if abs(lowest + code * (highest - lowest) / max_code) <= half_step(vector) * _TOLERANCE
    ]


def _count(stored: Array, codes: Sequence[float]) -> int:
    return sum(int(np.count_nonzero(stored == code)) for code in codes)
