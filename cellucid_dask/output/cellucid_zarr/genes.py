"""The chunks of ``X``: whole ones are written by the task that has their genes, others joined.

A chunk does not end where a gene does. What a task has of a chunk that it shares is kept in the
target's notes as a fragment; when all genes are done, fragments are joined.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from dask.delayed import delayed

from cellucid_dask.display import first_few
from cellucid_dask.encode.counts import GeneCounts
from cellucid_dask.encode.gene_vectors import GeneVectors, values_together
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.errors import ExportError
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.output.base import NOTES, is_note
from cellucid_dask.output.cellucid_zarr.expression import (
    FLOAT32,
    FLOAT64,
    Cutter,
    Expression,
    Piece,
)
from cellucid_dask.planning import split_by_cost
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.store.document import parse_json
from cellucid_dask.store.target import Target
from cellucid_dask.types import Array

# float64 represents all whole numbers up to this one.
_EXACT = 2**53
_LAYOUT = f"{NOTES}/layout.json"
# Chunks that a task joins, and files that are put at once.
_JOINED_CHUNKS = 2
_FILES_PUT = 8


@dataclass(frozen=True)
class GeneChunks:
    """The chunks of ``X`` that hold some genes.

    Attributes
    ----------
    columns
        int64: matrix columns of the genes, ascending.
    slots
        int64: their columns in ``X``.
    ids
        Their names, for errors.
    n_cells, n_genes
        Shape of ``X``.
    name
        What to call the matrix in errors.
    exact
        Whether the source has a dtype of which float32 does not represent all whole numbers.
    expression
        Where values lie; ``None`` until they are counted.
    """

    columns: Array
    slots: Array
    ids: tuple[str, ...]
    n_cells: int
    n_genes: int
    name: str
    exact: bool
    expression: Expression | None = None

    def keys(self, first: int, last: int) -> list[str]:
        """Return what receipts call some genes."""
        return list(map(gene_key, self.columns[first:last].tolist()))

    @property
    def counts(self) -> bool:
        """Whether values must be counted before `write`."""
        return self.expression is None

    def check(self, counts: GeneCounts) -> None:
        """Refuse values that the format does not hold.

        Raises
        ------
        ExportError
            Some are not finite, or not represented by float64.
        """
        bad = np.flatnonzero(counts.n_bad)
        if len(bad):
            raise ExportError(
                f"{self.name} holds {counts.n_bad.sum():,} NaN or infinite values in {len(bad):,} "
                f"genes ({first_few([self.ids[gene] for gene in bad[:6]])}), which cellucid-zarr "
                "does not hold: replace them, leave those genes out, name another --layer, or "
                "export with --format=compact_v1, which shows them as missing."
            )
        if self.exact and counts.exceeds_float32 and counts.largest > _EXACT:
            raise ExportError(
                f"{self.name} holds whole numbers up to {counts.largest:,.0f}, which float64 does "
                "not tell apart: pass --normalize, name another --layer, or convert them to "
                "float32 first."
            )

    def placed(self, target: Target, counts: GeneCounts) -> GeneChunks:
        """Return the writer that knows where the values lie; note it for a run that resumes."""
        self.check(counts)
        n_values = np.zeros(self.n_genes, np.int64)
        n_values[self.slots] = counts.n_values
        dtype = FLOAT64 if self.exact and counts.exceeds_float32 else FLOAT32
        note = {"dtype": dtype.str, "n_values": n_values.tolist()}
        target.put({_LAYOUT: json.dumps(note).encode()})
        return replace(self, expression=Expression(self.n_cells, n_values, dtype))

    def noted(self, target: Target) -> GeneChunks:
        """Return the writer as `placed` did in an interrupted run, if that got as far."""
        expression = noted_expression(target, self.n_cells)
        known = expression is not None and expression.n_genes == self.n_genes
        return replace(self, expression=expression) if known else self

    def write(self, target: Target, tiles: Sequence[Tile], first: int) -> GeneSummary:
        """Encode and put the genes of some tiles, the first at position `first`."""
        expression = self.expression
        if expression is None:
            raise ValueError("values were not counted")
        genes = GeneVectors(tiles, self.n_cells)
        n_genes = genes.n_genes
        slots = self.slots[first : first + n_genes]
        files = itertools.chain.from_iterable(
            expression.files(piece) if expression.is_whole(piece) else [_fragment(piece)]
            for piece in _pieces(expression, genes, slots)
        )
        return GeneSummary(
            self.columns[first : first + n_genes],
            genes.lowest,
            genes.highest,
            genes.n_missing,
            np.zeros(n_genes, np.int64),
            np.zeros(n_genes, "S64"),
            np.zeros(n_genes, "S32"),
            _put(target, files),
        )

    def sizes(self, tiles: Sequence[Tile], n_cells: int) -> list[int]:
        """Return the bytes that each gene would take, if there were `n_cells` cells."""
        genes = GeneVectors(tiles, n_cells)
        counts = sum((GeneCounts.of(tile).n_values for tile in tiles), np.zeros(1, np.int64))
        sizes = []
        for gene, count in enumerate(counts.tolist()):
            one = Expression(n_cells, np.array([count]))
            arrays = one.values(genes, 0, gene, gene + 1).arrays
            specs = [
                replace(spec, chunks=x.shape) for spec, x in zip(one.arrays, arrays, strict=True)
            ]
            sizes.append(sum(len(spec.encode(x)) for spec, x in zip(specs, arrays, strict=True)))
        return sizes


def gene_key(column: int) -> str:
    """Return what receipts call the gene of a matrix column."""
    return f"X/{column}"


def noted_expression(target: Target, n_cells: int) -> Expression | None:
    """Read where the values of a run that is not over lie."""
    try:
        note = parse_json(target.read(_LAYOUT) or b"")
        n_values, dtype = np.array(note["n_values"], np.int64), np.dtype(note["dtype"])
    except (ValueError, KeyError, TypeError, OverflowError):  # cut short when its run was killed
        return None
    fits = n_values.ndim == 1 and dtype in (FLOAT32, FLOAT64)
    return Expression(n_cells, n_values, dtype) if fits else None


def _pieces(expression: Expression, genes: GeneVectors, slots: Array) -> Iterator[Piece]:
    """Cut genes, which lie in `slots` of ``X``."""
    breaks = np.flatnonzero(np.diff(slots) != 1) + 1
    for first, last in itertools.pairwise([0, *breaks.tolist(), len(slots)]):
        slot = int(slots[first])
        stored = np.diff(expression.starts[slot : slot + last - first + 1])
        cutter = Cutter(int(expression.starts[slot]), expression.chunk_values)
        for start, stop in split_by_cost(stored, values_together(expression.n_cells)):
            values = expression.values(genes, slot + start, first + start, first + stop)
            yield from cutter.add(values.arrays)
        yield from cutter.rest()


def _put(target: Target, files: Iterator[tuple[str, bytes]]) -> dict[str, FileDigest]:
    """Write files as they are made, and return their digests."""
    digests: dict[str, FileDigest] = {}
    with target.writer() as out:
        while some := dict(itertools.islice(files, _FILES_PUT)):
            out.put(some)
            digests |= {path: FileDigest.of(data, target.tag(data)) for path, data in some.items()}
    return digests


def _fragment(piece: Piece) -> tuple[str, bytes]:
    """Return path and content of a piece that is not a whole chunk."""
    data = b"".join(array.tobytes() for array in piece.arrays)
    return f"{NOTES}/{piece.start}-{piece.stop}.fragment", data


def join_fragments(
    target: Target, expression: Expression, files: Iterable[str]
) -> dict[str, FileDigest]:
    """Write the chunks of which tasks had parts, on the active scheduler.

    Parameters
    ----------
    target, expression
        The export.
    files
        Paths of all that tasks wrote.

    Returns
    -------
    dict
        Digests of the chunks, by path.
    """
    of_chunk: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for path in files:
        if is_note(path):
            start, stop = map(int, path.rpartition("/")[2].partition(".")[0].split("-"))
            of_chunk[start // expression.chunk_values].append((start, stop, path))
    chunks = [sorted(of_chunk[number]) for number in sorted(of_chunk)]
    tasks = [
        delayed(join_chunks, pure=False)(target, expression, chunks[at : at + _JOINED_CHUNKS])
        for at in range(0, len(chunks), _JOINED_CHUNKS)
    ]
    return {path: digest for joined in run_all(tasks) for path, digest in joined.items()}


def join_chunks(
    target: Target, expression: Expression, chunks: Sequence[Sequence[tuple[int, int, str]]]
) -> dict[str, FileDigest]:
    """Join the fragments of some chunks: of each its start, its stop and its path (task)."""
    pieces = (_joined(target, expression, fragments) for fragments in chunks)
    return _put(target, itertools.chain.from_iterable(map(expression.files, pieces)))


def _joined(
    target: Target, expression: Expression, fragments: Sequence[tuple[int, int, str]]
) -> Piece:
    parts: list[tuple[Array, ...]] = []
    at = fragments[0][0]
    dtypes = [spec.dtype for spec in expression.arrays]
    width = sum(dtype.itemsize for dtype in dtypes)
    limits = {path: width * (stop - start) + 1 for start, stop, path in fragments}
    contents = target.fetch(limits)
    for start, stop, path in fragments:
        data = contents[path]
        if start != at or not isinstance(data, bytes) or len(data) != width * (stop - start):
            break
        at, offset, arrays = stop, 0, []
        for dtype in dtypes:
            arrays.append(np.frombuffer(data, dtype, stop - start, offset))
            offset += dtype.itemsize * (stop - start)
        parts.append(tuple(arrays))
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)]
    piece = Piece(fragments[0][0], tuple(columns))
    if at != fragments[-1][1] or not expression.is_whole(piece):
        raise ExportError(
            f"What tasks left of X in {target}/{NOTES} went missing: continue with --resume."
        )
    return piece
