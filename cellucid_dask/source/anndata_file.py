"""h5ad files and AnnData Zarr stores; their groups are alike, so one class reads both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem
from scipy import sparse

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.source import hdf5, legacy
from cellucid_dask.source.fingerprint import of_files
from cellucid_dask.source.matrix import DenseMatrix, Matrix, Sliceable, SparseMatrix
from cellucid_dask.source.text import TextColumn
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import Location
from cellucid_dask.store.preflight import check_answers
from cellucid_dask.store.retry import with_retries_async


def open_h5ad(location: Location) -> FileSource:
    """Open an h5ad file."""
    with _refusing(location):
        check_answers(location)
        file = location
        if location.is_local:  # a link may come to point elsewhere while the export runs
            file = replace(location, url=str(Path(location.url).resolve()))
        return FileSource(hdf5.open_file(file), location, partial(hdf5.reader, file=file))


def open_zarr(location: Location) -> FileSource:
    """Open an AnnData Zarr store."""
    with _refusing(location):
        check_answers(location, "zarr.json")
        store: Any = location.url
        if not location.is_local:  # Zarr by itself would take memory:// for a store of its own
            fsspec_store = zarr.storage.FsspecStore.from_url(
                location.url, dict(location.storage_options), read_only=True
            )
            store = _RetryingStore(fsspec_store, location)
        return FileSource(zarr.open_group(store, mode="r"), location, lambda array: array)


@contextmanager
def _refusing(location: Location) -> Iterator[None]:
    """Turn errors of opening into a `RequestError` that says what is wrong with the file."""
    try:
        yield
    except RequestError:
        raise
    except FileNotFoundError:
        raise RequestError(
            f"{location.url} holds no AnnData: it has neither an HDF5 file nor a Zarr group."
        ) from None
    except ExportError as error:
        raise RequestError(str(error)) from error
    except Exception as error:  # stores raise errors of their own
        failure = failure_of(error)
        if failure in (Failure.DENIED, Failure.MISSING) or (
            failure is Failure.TRANSIENT and not location.is_local
        ):
            raise RequestError(location.explain(error, "read")) from error
        if isinstance(error, OSError | ValueError | KeyError | ImportError):
            raise RequestError(
                f"{location.url} cannot be read as AnnData: it is not an h5ad file or Zarr store, "
                "or it is truncated."
            ) from error
        raise


class _RetryingStore(zarr.storage.WrapperStore[Any]):
    """A Zarr store that retries reads, and explains those that fail for good."""

    def __init__(self, store: Any, location: Location) -> None:
        super().__init__(store)
        self._location = location

    def _with_store(self, store: Any) -> _RetryingStore:
        return type(self)(store, self._location)

    async def get(self, *arguments: Any, **options: Any) -> Any:
        with self._location.explaining("read"):
            return await with_retries_async(partial(self._store.get, *arguments, **options))


class FileSource:
    """An AnnData on disk or in a store.

    Parameters
    ----------
    group
        Its HDF5 or Zarr group.
    location
        Of the file or store.
    open_array
        Makes of a dataset of the group what tasks read it by.
    """

    def __init__(self, group: Any, location: Location, open_array: Callable[[Any], Any]) -> None:
        self.location, self.name = location, location.name
        if "obs" not in group or "var" not in group:
            raise RequestError(f"{self.name} is not AnnData: it has no obs and var.")
        self._group = group
        self._open_array = open_array
        self._frame: pd.DataFrame | None = None  # obs, where it cannot be read by column
        self.n_cells = self._count_cells()

    def cell_ids(self) -> list[str]:
        """Read the index of obs."""
        obs = self._group["obs"]
        if legacy.is_table(obs) or obs.attrs.get("encoding-version") != "0.2.0":
            return [str(name) for name in self._obs_frame().index]
        return [str(name) for name in read_elem(obs[obs.attrs["_index"]])]

    def _count_cells(self) -> int:
        obs = self._group["obs"]
        if legacy.is_table(obs):
            return int(obs.shape[0])
        names = obs[obs.attrs["_index"]]
        # pandas 3 has nullable strings, which anndata writes as a group of values and mask
        return int((names if hasattr(names, "shape") else names["values"]).shape[0])

    @property
    def layers(self) -> list[str]:
        """Matrices that can be exported."""
        names = ["X"] if "X" in self._group else []
        names += ["raw"] if "raw/X" in self._group or "raw.X" in self._group else []
        return names + (sorted(self._group["layers"]) if "layers" in self._group else [])

    @property
    def obs_keys(self) -> list[str]:
        """Columns of obs, in order."""
        obs = self._group["obs"]
        if legacy.is_table(obs):
            return [str(name) for name in self._obs_frame().columns]
        return [str(name) for name in obs.attrs["column-order"]]

    def obs(self, key: str) -> Any:
        """Read one column."""
        obs = self._group["obs"]
        if legacy.is_table(obs) or obs.attrs.get("encoding-version") != "0.2.0":
            return self._obs_frame()[key]
        element = obs[key]
        match element.attrs.get("encoding-type"):
            case "string-array":
                return TextColumn(self._open_text(element))
            case "nullable-string-array":
                return TextColumn(self._open_text(element["values"]), element["mask"][:])
        return read_elem(element)

    def _open_text(self, element: Any) -> Any:
        return element if isinstance(element, h5py.Dataset) else self._open_array(element)

    def _obs_frame(self) -> pd.DataFrame:
        if self._frame is None:
            self._frame = self._table("obs")
        return self._frame

    def _table(self, name: str) -> pd.DataFrame:
        element = self._group[name]
        if legacy.is_table(element):
            return legacy.read_table(element, self._group.get("uns", {}))
        frame = read_elem(element)
        if not isinstance(frame, pd.DataFrame):
            raise RequestError(f"{self.name} is not AnnData: its {name} is not a table.")
        return frame

    @property
    def obsm_widths(self) -> dict[str, int]:
        """Matrices of obsm, and their widths."""
        if "obsm" not in self._group:
            return {}
        obsm = self._group["obsm"]
        if legacy.is_table(obsm):
            return {
                str(name): int(np.prod(obsm.dtype[name].shape)) for name in obsm.dtype.names or ()
            }
        shapes = {key: _shape(obsm[key]) for key in obsm}
        return {key: int(shape[1]) for key, shape in shapes.items() if len(shape) == 2}

    def obsm(self, key: str) -> Sliceable:
        """Open one array."""
        obsm = self._group["obsm"]
        if legacy.is_table(obsm):
            return np.asarray(obsm[:][key])
        element = obsm[key]
        if getattr(getattr(element, "dtype", None), "kind", "") in {*"biuf"}:
            array: Sliceable = self._open_array(element)
            return array
        return as_dense(read_elem(element))

    @property
    def obsp_keys(self) -> list[str]:
        """Matrices over cells."""
        return sorted(self._obsp())

    def obsp(self, key: str) -> Matrix | None:
        """Open one of them."""
        return stored_matrix(self._group[self._obsp()[key]], self._open_array)

    def _obsp(self) -> dict[str, str]:
        """Return their paths in the group, by name; AnnData before 0.7 kept the graph in uns."""
        old = {key: f"uns/neighbors/{key}" for key in ("connectivities", "distances")}
        paths = {key: path for key, path in old.items() if path in self._group}
        if "obsp" in self._group:
            paths |= {str(key): f"obsp/{key}" for key in self._group["obsp"]}
        return paths

    def var(self, layer: str) -> pd.DataFrame:
        """Read the var table of X and the layers, or of raw."""
        if layer != "raw":
            return self._table("var")
        return self._table("raw/var" if "raw/var" in self._group else "raw.var")

    def matrix(self, layer: str) -> Matrix | None:
        """Open X, raw or a layer."""
        raw = "raw/X" if "raw/X" in self._group else "raw.X"
        path = {"X": "X", "raw": raw}.get(layer, f"layers/{layer}")
        return stored_matrix(self._group[path], self._open_array)

    def fingerprint(self, layer: str) -> str:  # noqa: ARG002  a file changes as a whole
        """Return a digest of size and age of the files."""
        return of_files(self.location)


def _shape(element: Any) -> tuple[int, ...]:
    attributes = element.attrs
    shape = attributes.get("shape", getattr(element, "shape", None))
    return () if shape is None else tuple(shape)


def as_dense(values: Any) -> np.ndarray[Any, Any]:
    """Return a small matrix of any kind (dense, sparse, a table) as a numpy array."""
    return np.asarray(values.toarray() if sparse.issparse(values) else values)


def stored_matrix(element: Any, open_array: Callable[[Any], Any]) -> Matrix | None:
    """Open an array or a sparse group as AnnData writes them."""
    if hasattr(element, "dtype"):
        if element.shape is None or len(element.shape) != 2:
            return None  # X = None is written as an empty dataset
        return DenseMatrix(open_array(element))
    attributes = element.attrs
    kind = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))[:3]
    shape = attributes.get("shape", attributes.get("h5sparse_shape"))
    if kind not in ("csr", "csc") or shape is None:
        raise RequestError(
            f"The matrix {element.name} is stored as {kind or 'something unknown'!r}: "
            "write it as a dense, CSR or CSC array."
        )
    return SparseMatrix(
        data=open_array(element["data"]),
        indices=open_array(element["indices"]),
        indptr=open_array(element["indptr"]),
        shape=(int(shape[0]), int(shape[1])),
        storage="csr" if kind == "csr" else "csc",
    )
