"""Scratch: where parts wait between the pass over the cells and the pass over the genes.

One file a row block, so that a task that runs twice writes the same file twice. In it,
part after part: ``indptr`` (uint32), ``cells`` (uint16), values; dense parts hold their
values alone. A gene block reads its stretch of each.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from cellucid_dask.errors import ExportError, ExportWarning, RequestError
from cellucid_dask.genes.parts import DensePart, Part, SparsePart
from cellucid_dask.preflight import check_writable
from cellucid_dask.resources import is_running, this_process
from cellucid_dask.store import open_store
from cellucid_dask.store.failures import Failure, failure_of, reason
from cellucid_dask.store.retry import retried
from cellucid_dask.store.transfer import is_async, read_ranges
from cellucid_dask.target import Target
from cellucid_dask.types import Array

_PREFIX = "cellucid-dask-scratch-"
_OWNER = "owner.json"
_INDPTR = np.dtype("<u4")


@dataclass(frozen=True)
class StoredPart:
    """Where a part lies in scratch, and what it covers."""

    file: str
    offset: int
    first_cell: int
    n_cells: int
    first_gene: int
    n_genes: int
    nnz: int | None  # None: dense
    cell_dtype: str
    value_dtype: str

    @property
    def nbytes(self) -> int:
        """Size in scratch."""
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_genes * self.n_cells * item
        per_value = np.dtype(self.cell_dtype).itemsize + item
        return (self.n_genes + 1) * _INDPTR.itemsize + self.nnz * per_value

    def gene_nbytes(self, indptr: Array) -> Any:
        """Return the bytes of each gene's values, whose beginnings `indptr` tells if sparse."""
        item = np.dtype(self.value_dtype).itemsize
        if self.nnz is None:
            return self.n_cells * item
        return np.diff(indptr) * (np.dtype(self.cell_dtype).itemsize + item)


@dataclass(frozen=True)
class Scratch:
    """A folder for parts, on a local disk or, by URL, in a store that all workers reach."""

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the folder is a local path."""
        return "://" not in self.url

    def _path(self, name: str) -> str:
        return f"{self.url}/{name}"

    def write(self, name: str, parts: Iterator[Part], first_gene: int) -> list[StoredPart]:
        """Write the parts of one row block to one file and say where each lies."""
        stored = []
        with self._failing_plainly("written"), self._open(name) as out:
            offset = 0
            for part in parts:
                where = _describe(part, name, offset, first_gene)
                for array in _arrays(part):
                    out.write(array.data.cast("B"))
                offset += where.nbytes
                stored.append(where)
        return stored

    def write_array(self, name: str, array: Array) -> None:
        """Write one contiguous array to a file of its own."""
        with self._failing_plainly("written"), self._open(name) as out:
            out.write(array.data.cast("B"))

    def _open(self, name: str) -> Any:
        if self.is_local:
            return open(self._path(name), "wb")  # noqa: PTH123  faster than fsspec's
        fs, root = open_store(self.url, self.storage_options)
        return fs.open(f"{root}/{name}", "wb")

    @contextmanager
    def _failing_plainly(self, done: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            known = isinstance(error, OSError) or failure_of(error) is not Failure.OTHER
            if isinstance(error, ExportError | RequestError) or not known:
                raise
            why = reason(error, self.storage_options)
            raise ExportError(
                f"Scratch at {self.url} could not be {done} ({why}): "
                "free some space there or name another place with --scratch."
            ) from error

    def nbytes(self) -> int:
        """Return the size of all that was written so far."""
        fs, path = open_store(self.url, self.storage_options)
        fs.invalidate_cache()  # others wrote there
        with self._failing_plainly("listed"):
            return int(retried(lambda: fs.du(path)))

    def read(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Read byte ranges ``(file, start, stop)``."""
        if not self.is_local:
            fs, root = open_store(self.url, self.storage_options)
            with self._failing_plainly("read"):
                wanted = [(f"{root}/{file}", start, stop) for file, start, stop in ranges]
                return read_ranges(fs, wanted)
        return list(self._read_local(ranges))

    def _read_local(self, ranges: Sequence[tuple[str, int, int]]) -> Iterator[bytes]:
        name, descriptor = None, -1
        try:
            for file, start, stop in ranges:
                if file != name:
                    if name is not None:
                        os.close(descriptor)
                    name, descriptor = file, os.open(self._path(file), os.O_RDONLY)
                data = os.pread(descriptor, stop - start, start)
                if len(data) != stop - start:
                    raise ExportError(f"Scratch at {self.url} was cut short while in use.")
                yield data
        finally:
            if name is not None:
                os.close(descriptor)


def _describe(part: Part, file: str, offset: int, first_gene: int) -> StoredPart:
    sparse = isinstance(part, SparsePart)
    return StoredPart(
        file=file,
        offset=offset,
        first_cell=part.first_cell,
        n_cells=part.n_cells,
        first_gene=first_gene,
        n_genes=part.n_genes,
        nnz=len(part.values) if sparse else None,
        cell_dtype=part.cells.dtype.str if isinstance(part, SparsePart) else "<u2",
        value_dtype=part.values.dtype.str,
    )


def _arrays(part: Part) -> tuple[Array, ...]:
    if isinstance(part, SparsePart):
        return part.indptr.astype(_INDPTR), part.cells, np.ascontiguousarray(part.values)
    return (np.ascontiguousarray(part.values),)


def read_indptr(
    scratch: Scratch, parts: Sequence[StoredPart], start: int, stop: int
) -> list[Array]:
    """Where genes ``start ... stop`` begin in each sparse part (int64); empty for a dense one."""
    sparse = [part for part in parts if part.nnz is not None]
    ranges = []
    for part in sparse:
        at = part.offset + (start - part.first_gene) * _INDPTR.itemsize
        ranges.append((part.file, at, at + (stop - start + 1) * _INDPTR.itemsize))
    found = iter(scratch.read(ranges) if ranges else ())
    return [
        np.zeros(0, np.int64)
        if part.nnz is None
        else np.frombuffer(next(found), _INDPTR).astype(np.int64)
        for part in parts
    ]


def read_parts(
    scratch: Scratch, parts: Sequence[StoredPart], indptrs: Sequence[Array], start: int, stop: int
) -> list[Part]:
    """Read genes ``start ... stop - 1`` of every part; `indptrs` covers just these genes."""
    ranges = []
    for part, indptr in zip(parts, indptrs, strict=True):
        item = np.dtype(part.value_dtype).itemsize
        if part.nnz is None:
            at = part.offset + (start - part.first_gene) * part.n_cells * item
            ranges.append((part.file, at, at + (stop - start) * part.n_cells * item))
            continue
        width = np.dtype(part.cell_dtype).itemsize
        cells = part.offset + (part.n_genes + 1) * _INDPTR.itemsize
        values = cells + part.nnz * width
        first, last = int(indptr[0]), int(indptr[-1])
        ranges.append((part.file, cells + first * width, cells + last * width))
        ranges.append((part.file, values + first * item, values + last * item))
    found = iter(scratch.read(ranges))
    return [
        DensePart(
            part.first_cell,
            np.frombuffer(next(found), part.value_dtype).reshape(stop - start, part.n_cells),
        )
        if part.nnz is None
        else SparsePart(
            part.first_cell,
            part.n_cells,
            indptr - indptr[0],
            np.frombuffer(next(found), part.cell_dtype),
            np.frombuffer(next(found), part.value_dtype),
        )
        for part, indptr in zip(parts, indptrs, strict=True)
    ]


@contextmanager
def open_scratch(
    where: str | None, beside: str | None, needed: int, storage_options: Mapping[str, Any]
) -> Iterator[Scratch]:
    """Make a scratch folder, and remove it whatever happens.

    Parameters
    ----------
    where
        The directory or URL asked for; ``None`` for the system's.
    beside
        A local directory to fall back on when the system's has too little room or is
        held in memory.
    needed
        Bytes the export will put there.
    """
    if where is not None and "://" in where and not where.startswith("file://"):
        yield from _remote(where, storage_options)
        return
    parent = _roomy([where.removeprefix("file://")] if where else _system(beside), needed)
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        (folder / _OWNER).write_text(json.dumps(this_process()))
        yield Scratch(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remote(where: str, storage_options: Mapping[str, Any]) -> Iterator[Scratch]:
    scratch = Scratch(f"{where.rstrip('/')}/{_PREFIX}{uuid.uuid4().hex}", storage_options)
    fs, path = open_store(scratch.url, storage_options)
    if not is_async(fs):  # object stores have no folders
        fs.makedirs(path, exist_ok=True)
    check_writable(Target(scratch.url, storage_options))
    try:
        yield scratch
    finally:
        fs.invalidate_cache()  # others wrote there
        try:
            with suppress(FileNotFoundError):
                retried(lambda: fs.rm(path, recursive=True))
        except Exception as error:  # noqa: BLE001  must not hide how the export ended
            why = reason(error, storage_options)
            warnings.warn(
                f"Scratch at {scratch.url} could not be removed ({why}): remove it yourself.",
                ExportWarning,
                stacklevel=2,
            )


def _system(beside: str | None) -> list[str]:
    return [tempfile.gettempdir(), *([beside] if beside else [])]


def _roomy(candidates: Sequence[str], needed: int) -> str:
    """Return the first directory with room on a real disk, else the first with room."""
    usable = [each for each in candidates if Path(each).is_dir() and os.access(each, os.W_OK)]
    if not usable:
        raise RequestError(f"Scratch {candidates[0]} is not a directory that can be written to.")
    roomy = [each for each in usable if shutil.disk_usage(each).free >= needed]
    if not roomy:
        most = max(shutil.disk_usage(each).free for each in usable)
        raise RequestError(
            f"Scratch needs {needed / 1e9:.2f} GB, and {' and '.join(usable)} "
            f"has {most / 1e9:.2f} GB free: name a larger disk with --scratch."
        )
    return next((each for each in roomy if not _in_memory(each)), roomy[0])


def _in_memory(path: str) -> bool:
    """Whether files there live in RAM, where scratch would break the memory budget."""
    real, best = os.path.realpath(path), ("", "")
    for disk in psutil.disk_partitions(all=True):
        inside = os.path.commonpath([real, disk.mountpoint]) == disk.mountpoint
        if inside and len(disk.mountpoint) >= len(best[0]):
            best = (disk.mountpoint, disk.fstype)
    return best[1] in {"tmpfs", "ramfs"}


def _sweep(parent: str) -> None:
    """Remove what dead runs of this host left behind."""
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError, KeyError):
            owner = json.loads((folder / _OWNER).read_text())
            if is_running(owner) is False:
                shutil.rmtree(folder, ignore_errors=True)
