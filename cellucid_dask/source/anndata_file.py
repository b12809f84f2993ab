"""h5ad files and AnnData Zarr stores; their groups are alike, so one class reads both."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from cellucid_dask.source import hdf5, legacy, ways
from cellucid_dask.source.claims import check_chunks
from cellucid_dask.source.elements import Elements, Links, as_dense, as_rows, shape_of
from cellucid_dask.source.fingerprint import of_files
from cellucid_dask.source.hdf5_links import Hdf5Links
from cellucid_dask.source.links import Reach, SymbolicLinks
from cellucid_dask.source.lookup import Lookup
from cellucid_dask.source.matrix import Matrix, Sliceable, SparseMatrix
from cellucid_dask.source.reading import ZarrArray, explaining
from cellucid_dask.source.table import StoredTable, Table, is_table
from cellucid_dask.store.location import Location
from cellucid_dask.store.preflight import check_ranges


def open_h5ad(
    location: Location, part: str | None, allow_links: bool, opened: ExitStack
) -> FileSource:
    """Open an h5ad file, or one modality of an h5mu file."""
    check_ranges(location)
    folder = Path(location.url).parent if location.is_local else None
    return _open(
        opened.enter_context(hdf5.open_file(location)),
        location,
        part,
        Hdf5Links(Reach(location.name, folder, allow_links)),
        lambda dataset, _: hdf5.reader(dataset, location),
    )


def open_zarr(
    location: Location, part: str | None, allow_links: bool, opened: ExitStack
) -> FileSource:
    """Open an AnnData Zarr store, or one table of a SpatialData store."""
    # zarr is slow to import
    from cellucid_dask.source.zarr_store import bounded, open_group  # noqa: PLC0415

    opened.enter_context(bounded())

    folder = Path(location.url) if location.is_local else None
    reach = Reach(location.name, folder, allow_links)
    group = open_group(location, reach)
    return _open(group, location, part, SymbolicLinks(reach), _zarr_array)


def _zarr_array(array: Any, what: str) -> ZarrArray:
    check_chunks(what, array.shape, array.chunks, array.dtype.itemsize)
    return ZarrArray(array, what)


def open_zip(location: Location, part: str | None, _: bool, opened: ExitStack) -> FileSource:
    """Open a Zarr store in a zip archive."""
    from cellucid_dask.source.zarr_store import bounded, open_zip_group  # noqa: PLC0415

    opened.enter_context(bounded())
    group = open_zip_group(location, opened)
    return _open(group, location, part, SymbolicLinks(Reach(location.name, None)), _zarr_array)


def _open(
    group: Any,
    location: Location,
    part: str | None,
    links: Links,
    open_array: Callable[[Any, str], Any],
) -> FileSource:
    elements = Elements(group, location.name, links, open_array)
    if path := ways.part_of(elements, location, part):
        elements = elements.below(path, f"{location.name}#{part}")
    ways.check_anndata(elements)
    return FileSource(elements, location)


class FileSource:
    """An AnnData on disk or in a store.

    Parameters
    ----------
    elements
        Its elements.
    location
        Of the file or store.
    """

    def __init__(self, elements: Elements, location: Location) -> None:
        self.location, self.name = location, elements.name
        self._elements = elements
        self._obs = StoredTable(elements, "obs")
        self.n_cells = len(self._obs)

    def uns(self) -> Any:
        """Read what belongs neither to cells nor to genes; empty if there is nothing."""
        return self._elements.read("uns") if "uns" in self._elements else {}

    def cell_ids(self) -> Sequence[str]:
        """Read the index of obs."""
        names = self._obs.index.astype(object)
        return names.tolist() if names.inferred_type == "string" else list(map(str, names))

    @property
    def layers(self) -> Collection[str]:
        """Matrices that can be exported."""
        return self._layers.keys()

    @cached_property
    def _layers(self) -> Mapping[str, str]:
        """Their paths, by name."""

        def names() -> Iterator[str]:
            yield from ("X", "raw")
            yield from self._elements.names("layers")

        return Lookup(self._layer_path, names)

    def _layer_path(self, name: str) -> str | None:
        """Find a layer; one called X or raw is used if there is no other matrix of the name."""
        own, other = {"X": "X", "raw": self._raw("X")}.get(name), f"layers/{name}"
        has_own, has_other = (path in self._elements for path in (own or other, other))
        if has_own and has_other and own == "X" and not shape_of(self._elements.glance(own)):
            return other  # X = None may be written as an empty array
        return own or other if has_own else other if has_other else None

    def _raw(self, name: str) -> str:
        """Return the path of a part of raw; AnnData before 0.7 has raw.X beside X."""
        return f"raw/{name}" if "raw" in self._elements else f"raw.{name}"

    @property
    def obs_keys(self) -> list[str]:
        """Columns of obs, in order."""
        return self._obs.columns

    def obs(self, key: str) -> Any:
        """Read one column."""
        return self._obs.column(key)

    @cached_property
    def obsm_widths(self) -> Mapping[str, int]:
        """Matrices of obsm, and their widths."""
        if "obsm" not in self._elements:
            return {}
        obsm = self._elements.glance("obsm")
        if legacy.is_table(obsm):
            return {str(name): math.prod(obsm.dtype[name].shape) for name in obsm.dtype.names or ()}
        return Lookup(self._obsm_width, partial(self._elements.names, "obsm"))

    def _obsm_width(self, name: str) -> int | None:
        shape = self._obsm_shape(path) if (path := f"obsm/{name}") in self._elements else ()
        return shape[1] if len(shape) == 2 else None

    def _obsm_shape(self, path: str) -> tuple[int, ...]:
        element = self._elements.glance(path)
        if is_table(element):
            table = StoredTable(self._elements, path)
            return len(table), len(table.columns)
        return shape_of(element)

    def obsm(self, key: str) -> Sliceable:
        """Open one array."""
        obsm = self._elements.glance("obsm")
        if legacy.is_table(obsm):
            with explaining(self._elements.title("obsm")):
                return np.asarray(obsm[:][key])
        path = f"obsm/{key}"
        element = self._elements.glance(path)
        if is_table(element):
            return StoredTable(self._elements, path).dense()
        if hasattr(element, "dtype") and element.dtype.kind in {*"biuf"}:
            array: Sliceable = self._elements.array(path)
            return array
        matrix = None if hasattr(element, "dtype") else self._elements.matrix(path)
        if isinstance(matrix, SparseMatrix):
            return as_rows(matrix)
        return as_dense(self._elements.read(path))

    @property
    def obsp_keys(self) -> Collection[str]:
        """Matrices over cells."""
        return self._obsp.keys()

    def obsp(self, key: str) -> Matrix | None:
        """Open one of them."""
        return self._elements.matrix(self._obsp[key])

    @cached_property
    def _obsp(self) -> Mapping[str, str]:
        """Their paths, by name; AnnData before 0.7 kept the graph in uns."""
        old = {key: f"uns/neighbors/{key}" for key in ("connectivities", "distances")}

        def find(name: str) -> str | None:
            paths = [f"obsp/{name}", *([old[name]] if name in old else [])]
            return next((path for path in paths if path in self._elements), None)

        return Lookup(find, lambda: sorted({*old, *self._elements.names("obsp")}))

    def var(self, layer: str) -> Table:
        """Open the var table of X and the layers, or of raw."""
        of_raw = self._layers.get(layer) == self._raw("X")
        return StoredTable(self._elements, self._raw("var") if of_raw else "var")

    def matrix(self, layer: str) -> Matrix | None:
        """Open X, raw or a layer."""
        return self._elements.matrix(self._layers[layer])

    def state(self) -> str:
        """Return a digest of size and age of the files."""
        return of_files(self.location, self._elements.others())

    def fingerprint(self, layer: str) -> str:  # noqa: ARG002  a file changes as a whole
        """Return a digest of size and age of the files."""
        return self.state()
