"""Checking the files and values of an export in the format cellucid-zarr."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from dask.delayed import delayed
from scipy import sparse

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.fields.points import unfit
from cellucid_dask.format import layout, names
from cellucid_dask.format.checksums import sha256
from cellucid_dask.output.cellucid_zarr.arrays import ARRAY, METADATA, ArraySpec, consolidated
from cellucid_dask.output.cellucid_zarr.store import StoredExport
from cellucid_dask.planning import make_plan, split_by_cost
from cellucid_dask.read.checked import OTHER_CONTENT, read_checksums
from cellucid_dask.read.zarr_graph import graph_findings
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.runtime.progress import follow
from cellucid_dask.runtime.resources import find_resources
from cellucid_dask.store.document import DocumentError, parse_json
from cellucid_dask.store.target import Target
from cellucid_dask.types import Json

_BATCH_BYTES = 16 * 2**20
_VALUE_BYTES = 16  # of a value of a gene that is compared
_BLOCK_ROWS = 2**17
_CHUNK_VALUES = 2**24  # far more than in any chunk that is written


@dataclass(frozen=True)
class CheckedStore:
    """An export and its files.

    Attributes
    ----------
    stored
        The export.
    arrays
        What its metadata describe, by path.
    listing
        Sizes of its files; None where the store cannot list them.
    checksums
        SHA-256 by path; None if it has none.
    damage
        What is wrong with metadata and checksums.
    """

    stored: StoredExport
    arrays: dict[str, ArraySpec]
    listing: dict[str, int] | None
    checksums: dict[str, str] | None
    damage: tuple[str, ...]

    @classmethod
    def read(cls, target: Target) -> CheckedStore:
        """Read the metadata and the checksums, and list the files."""
        stored = StoredExport.open(target)
        data, sums, findings = read_checksums(target)
        if stored.is_ours and data is None:
            findings.append(f"{names.CHECKSUMS} is missing: cellucid-dask wrote it")
        if stored.is_ours and target.read(METADATA) != consolidated(stored.metadata):
            findings.append(f"{METADATA} is not the file that was written")
        listing = target.tree()
        n_files = len(sums or ()) if listing is None else len(listing)
        arrays: dict[str, ArraySpec] = {}
        for path, content in stored.metadata.items():
            if path.endswith(f"/{ARRAY}"):
                try:
                    spec = _spec(path, content)
                    if n_files < spec.n_chunks:
                        findings.append(f"{path} names more chunks than there are files")
                        continue
                    arrays[spec.path] = spec
                except (KeyError, TypeError, ValueError):
                    findings.append(f"{METADATA}: {path} is not of this format")
        return cls(stored, arrays, listing, sums, tuple(findings))

    @property
    def chunks(self) -> dict[str, ArraySpec]:
        """What each chunk is of, by path."""
        return {
            spec.key(*position): spec
            for spec in self.arrays.values()
            for position in spec.positions()
        }

    @property
    def files(self) -> list[str]:
        """Paths of all files that the metadata name."""
        return [*self.stored.metadata, *self.chunks]


def _spec(path: str, content: Json) -> ArraySpec:
    text = content["dtype"] == "|O"
    spec = ArraySpec(
        path.removesuffix(f"/{ARRAY}"),
        tuple(map(int, content["shape"])),
        tuple(map(int, content["chunks"])),
        np.dtype(object if text else content["dtype"]),
        bool(content["filters"]) and not text,
    )
    if spec.dtype.kind not in "biufO" or math.prod(spec.chunks) > _CHUNK_VALUES:
        raise ValueError(path)  # before memory is taken
    if spec.metadata() != content:
        raise ValueError(path)
    return spec


def missing_files(export: CheckedStore) -> Iterator[str]:
    """Report the files that the metadata name and that do not exist."""
    if export.listing is not None:
        for path in sorted(set(export.files).difference(export.listing)):
            yield f"{path} is missing"


def findings_of(export: CheckedStore) -> Iterator[str]:
    """Report what is wrong with an export, one sentence each."""
    yield from export.damage
    yield from missing_files(export)
    target, named = export.stored.target, export.files
    if export.listing is not None:
        for path in sorted(set(export.listing).difference(named, [METADATA])):
            if not layout.is_extra(path):
                yield f"{path} is left over: no metadata name it"
    existing = [path for path in named if export.listing is None or path in export.listing]
    sizes = np.array([(export.listing or {}).get(path, _BATCH_BYTES) for path in existing])
    batches = [
        existing[start:stop]
        for start, stop in split_by_cost(np.maximum(sizes, _BATCH_BYTES // 64), _BATCH_BYTES)
    ]
    chunks = export.chunks
    tasks = [
        delayed(check_files, pure=False)(
            target,
            {path: chunks.get(path) for path in batch},
            {path: export.stored.metadata.get(path) for path in batch},
            export.checksums,
        )
        for batch in batches
    ]
    with follow("checking files", len(tasks), "batches") as progress:
        for findings in run_all(tasks, progress=progress):
            yield from findings
    yield from _elements(export.stored)


def check_files(
    target: Target,
    chunks: Mapping[str, ArraySpec | None],
    metadata: Mapping[str, Json | None],
    checksums: Mapping[str, str] | None,
) -> list[str]:
    """Read files and report what is wrong with each (task)."""
    limits = {
        path: _plain_bytes(spec) * 2 + 2**16 if spec is not None else 2**24
        for path, spec in chunks.items()
    }
    findings = []
    for path, data in target.fetch(limits).items():
        if isinstance(data, Exception):
            findings.append(f"{path} cannot be read")
        elif found := _file(path, data, chunks[path], metadata[path]):
            findings.append(found)
        elif checksums is not None and checksums.get(path) != sha256(data):
            findings.append(f"{path} {OTHER_CONTENT}")
    return findings


def _file(path: str, data: bytes, spec: ArraySpec | None, content: Json | None) -> str | None:
    if content is not None:
        return _document(path, data, content)
    return None if spec is None else _chunk(path, data, spec)


def _document(path: str, data: bytes, content: Json) -> str | None:
    try:
        found = parse_json(data)
    except DocumentError as error:
        return f"{path} {error}"
    # zarr-python adds to groups what it consolidated
    stated = {key: value for key, value in content.items() if key != "consolidated_metadata"}
    return None if found == stated else f"{path} is not what {METADATA} says"


def _chunk(path: str, data: bytes, spec: ArraySpec) -> str | None:
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(data, _plain_bytes(spec) + 1)
    except zlib.error as error:
        return f"{path} cannot be decompressed ({error})"
    if not inflate.eof or inflate.unused_data:
        return f"{path} is cut short, or goes on after its end"
    if spec.dtype != object and len(plain) != _plain_bytes(spec):
        return f"{path} holds {len(plain):,} bytes of values, not {_plain_bytes(spec):,}"
    return None


def _plain_bytes(spec: ArraySpec) -> int:
    """Return the bytes of a chunk; of text as many as may be."""
    if spec.dtype == object:
        return 2**28
    return math.prod(spec.chunks) * spec.dtype.itemsize


def _elements(stored: StoredExport) -> Iterator[str]:
    """Read all elements and report those that do not hold what they must."""
    source = stored.source
    for key in source.obs_keys:
        try:
            n_rows = len(stored.column(key))
        except (ExportError, ValueError) as error:
            yield f"obs/{key} cannot be read ({error})"
            continue
        if n_rows != source.n_cells:
            yield f"obs/{key} has {n_rows:,} rows, not {source.n_cells:,}"
    for key in source.obsm_widths:
        values = source.obsm(key)
        if values.shape[0] != source.n_cells:
            yield f"obsm/{key} has {values.shape[0]:,} rows, not {source.n_cells:,}"
        elif reason := unfit(values):
            yield f"obsm/{key} {reason}"
    yield from graph_findings(stored)
    if "X" in source.layers:
        yield from _expression(stored)


def _expression(stored: StoredExport) -> Iterator[str]:
    resources = find_resources(None)
    shape = stored.source.n_cells, len(stored.genes)
    try:
        matrix = stored.matrix
        if matrix.shape != shape:
            yield f"X is {matrix.shape[0]:,} x {matrix.shape[1]:,}, not {shape[0]:,} x {shape[1]:,}"
            return
        plan = make_plan(
            matrix.layout(np.arange(shape[1])),
            bits=None, memory_budget=resources.memory, n_workers=resources.n_workers,
        )  # fmt: skip
    except (ExportError, RequestError) as error:
        yield f"X: {error}"
        return
    edges = np.cumsum((0, *plan.gene_blocks)).tolist()
    tasks = [
        delayed(check_genes, pure=False)(stored.target, first, last)
        for first, last in itertools.pairwise(edges)
    ]
    with follow("checking genes", len(tasks), "blocks") as progress:
        for findings in run_all(tasks, plan.n_workers, progress):
            yield from findings


def check_genes(target: Target, first: int, last: int) -> list[str]:
    """Read genes and report what is wrong with them (task)."""
    try:
        block = StoredExport.open(target).columns(first, last)
    except (ExportError, RequestError) as error:
        return [f"X: {error}"]
    values = block.data if sparse.issparse(block) else block
    findings = []
    if n_bad := np.count_nonzero(~np.isfinite(values)):
        findings.append(f"X holds {n_bad:,} values that are no numbers in genes {first} to {last}")
    if sparse.issparse(block):
        if n_zeros := np.count_nonzero(values == 0):
            findings.append(f"X holds {n_zeros:,} stored zeros in genes {first} to {last}")
        steps = np.diff(block.indices.astype(np.int64))
        inside = np.ones(len(steps), bool)
        ends = block.indptr[1:-1]
        inside[ends[(ends > 0) & (ends <= len(steps))] - 1] = False
        if (steps[inside] <= 0).any():
            findings.append(f"X has cells out of order in genes {first} to {last}")
    return findings
