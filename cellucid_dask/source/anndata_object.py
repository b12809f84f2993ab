"""AnnData objects: in memory, backed by a file, or lazy with Dask arrays inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.errors import RequestError
from cellucid_dask.runtime.compute import run_all
from cellucid_dask.source import hdf5
from cellucid_dask.source.dask_matrix import DaskMatrix
from cellucid_dask.source.elements import as_dense, as_rows, stored_matrix, without_mask
from cellucid_dask.source.fingerprint import of_files
from cellucid_dask.source.hdf5_links import Hdf5Links, file_of
from cellucid_dask.source.links import Reach
from cellucid_dask.source.matrix import DenseMatrix, Matrix, Sliceable, SparseMatrix, Storage
from cellucid_dask.source.table import Table
from cellucid_dask.store.location import Location


class AnnDataSource:
    """An AnnData object, or any other with its attributes.

    Parameters
    ----------
    adata
        The object.
    allow_links
        Whether the file that backs it may have links that lead out of its folder.
    """

    def __init__(self, adata: Any, allow_links: bool = False) -> None:
        self._adata = adata
        filename = getattr(adata, "filename", None)
        self.location = Location.of(filename) if filename else None
        self.name = self.location.name if self.location else "the source"
        folder = Path(self.location.url).parent if self.location else None
        # arrays of a file that the caller opened and put together himself are his own choice
        self._links = Hdf5Links(Reach(self.name, folder, allow_links or folder is None))
        self.n_cells = int(adata.n_obs)

    @property
    def layers(self) -> list[str]:
        """Matrices that can be exported."""
        return list(self._layers)

    @property
    def _layers(self) -> dict[str, Any]:
        """The matrices by name: a layer called X or raw is used if there is no other."""
        adata = self._adata
        try:
            named = {"X": adata.X}
        except KeyError:  # a backed one without X
            named = {}
        named["raw"] = None if adata.raw is None else adata.raw.X
        found = {name: matrix for name, matrix in named.items() if matrix is not None}
        # anndata 0.13 has X among the layers, as None; of a file without X, it cannot be read
        layers = _by_name({key: adata.layers[key] for key in adata.layers if key is not None})
        return found | {name: layers[name] for name in sorted(layers) if name not in found}

    @property
    def obs_keys(self) -> list[str]:
        """Columns of obs."""
        return [str(name) for name in self._adata.obs.columns]

    def cell_ids(self) -> Sequence[str]:
        """Return the index of obs; that of a lazy AnnData is loaded here."""
        return [str(name) for name in _names(self._adata.obs_names, "obs")]

    def obs(self, key: str) -> Any:
        """Read one column; that of a lazy AnnData is loaded here."""
        obs = self._adata.obs
        if isinstance(obs, pd.DataFrame):
            return obs.iloc[:, self.obs_keys.index(key)]
        return obs[[key]].to_memory()[key]

    @property
    def obsm_widths(self) -> dict[str, int]:
        """Matrices of obsm, and their widths."""
        shapes: dict[str, Any] = {
            key: getattr(each, "shape", ()) for key, each in self._obsm.items()
        }
        return {key: int(shape[1]) for key, shape in shapes.items() if len(shape) == 2}

    @property
    def _obsm(self) -> dict[str, Any]:
        return _by_name(self._adata.obsm)

    def obsm(self, key: str) -> Sliceable:
        """Open one array."""
        values: Any = self._obsm[key]
        if isinstance(values, da.Array | h5py.Dataset):
            lazy: Sliceable = _DenseDask(values) if isinstance(values, da.Array) else values
            return lazy
        if sparse.issparse(values):
            matrix = self._matrix(values, f"obsm[{key!r}]")
            return as_rows(matrix) if isinstance(matrix, SparseMatrix) else as_dense(values)
        return as_dense(values)

    @property
    def obsp_keys(self) -> list[str]:
        """Matrices over cells."""
        return sorted(_by_name(self._adata.obsp))

    def obsp(self, key: str) -> Matrix | None:
        """Open one of them."""
        return self._matrix(_by_name(self._adata.obsp)[key], f"obsp[{key!r}]")

    def var(self, layer: str) -> Table:
        """Read the var table of X and the layers, or of raw."""
        raw = self._adata.raw
        of_raw = layer == "raw" and raw is not None
        frame = raw.var if of_raw else self._adata.var
        frame = frame if isinstance(frame, pd.DataFrame) else frame.to_memory()
        _names(frame.index, "var")
        return frame.set_axis([str(name) for name in frame.columns], axis=1)

    def matrix(self, layer: str) -> Matrix | None:
        """Open X, raw or a layer."""
        return self._matrix(self._layers[layer], "Expression")

    def _matrix(self, values: Any, what: str) -> Matrix | None:
        return matrix_of(values, what, self._links)

    def state(self) -> str | None:
        """Return a digest of size and age of the file that backs it, if one does."""
        return None if self.location is None else of_files(self.location)

    def fingerprint(self, layer: str) -> str:
        """Return a digest of a layer."""
        matrix = self.matrix(layer) if layer in self.layers else None
        return "" if matrix is None else matrix.fingerprint()


def _by_name(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping whose keys are text, as anndata would write them."""
    return {str(key): value for key, value in mapping.items()}


def _names(index: Any, table: str) -> Any:
    """Return the names of rows, which are one for each."""
    if isinstance(index, pd.MultiIndex):
        raise RequestError(
            f"The index of {table} has {index.nlevels} levels: name its rows by one, such as "
            f"adata.{table}_names = adata.{table}.index.get_level_values(0)."
        )
    return index


def matrix_of(values: Any, what: str, links: Hdf5Links) -> Matrix | None:
    """Wrap whatever an AnnData, or a caller, holds a matrix in.

    Parameters
    ----------
    values
        The matrix.
    what
        What to call it in errors.
    links
        Which files it may be read from.
    """
    if values is None:
        return None
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    if isinstance(values, da.Array):
        return _dask_matrix(values, what)
    if sparse.issparse(values):
        return _sparse_matrix(values if values.format in ("csr", "csc") else values.tocsr(), what)
    if hasattr(values, "group"):  # anndata's backed sparse datasets
        return stored_matrix(values.group, what, partial(_reader, links))
    if isinstance(values, h5py.Dataset):
        return stored_matrix(values, what, partial(_reader, links))
    if isinstance(values, np.ma.MaskedArray):
        values = without_mask(values)
    if hasattr(values, "shape") and len(values.shape) == 2 and hasattr(values, "dtype"):
        return DenseMatrix(values if hasattr(values, "chunks") else np.asarray(values))
    raise RequestError(
        f"{what} is a {type(values).__name__}: pass a two-dimensional numpy, scipy sparse, "
        "Dask, h5py or Zarr array."
    )


def _sparse_matrix(values: Any, what: str) -> SparseMatrix:
    # scipy's arrays may be longer than the matrix
    data, indices, indptr = values.data, values.indices, values.indptr
    if len(indptr) and 0 <= indptr[-1] <= min(len(data), len(indices)):
        data, indices = data[: indptr[-1]], indices[: indptr[-1]]
    return SparseMatrix(data, indices, indptr, values.shape, values.format, what)


def _reader(links: Hdf5Links, array: Any, what: str) -> Any:  # noqa: ARG001
    if not isinstance(array, h5py.Dataset):
        return array
    on_disk = array.file.driver in ("sec2", "stdio") and file_of(array).is_file()
    if not on_disk:
        return array
    links.check_open(array)
    return hdf5.reader(array, Location(str(file_of(array))))


class _DenseDask:
    """A Dask array of numbers whose slices are computed, and dense."""

    def __init__(self, array: Any) -> None:
        if sparse.issparse(array._meta):  # noqa: SLF001
            array = array.map_blocks(as_dense, dtype=array.dtype, meta=np.empty((0, 0)))
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, selection: Any) -> Any:
        (values,) = run_all([self._array[selection]])
        return np.asarray(values)


def _dask_matrix(array: da.Array, what: str) -> DaskMatrix:
    if array.ndim != 2:
        raise RequestError(f"{what} has {array.ndim} dimensions: it must have two.")
    if any(np.isnan(size) for sizes in array.chunks for size in sizes):
        raise RequestError(
            "The Dask array has blocks of unknown size: call its compute_chunk_sizes() first."
        )
    # the array's meta is an empty block of the type that all its blocks have
    meta = array._meta  # noqa: SLF001
    if isinstance(meta, np.ma.MaskedArray):
        dtype = np.result_type(array.dtype, np.float32)
        array = da.ma.filled(array.astype(dtype), np.nan)
    storage: Storage = getattr(meta, "format", "dense")
    return DaskMatrix(array, storage if storage in {"csr", "csc"} else "dense")
