"""AnnData objects: in memory, backed by a file, or lazy with Dask arrays inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.errors import RequestError
from cellucid_dask.source import hdf5
from cellucid_dask.source.anndata_file import as_dense, stored_matrix
from cellucid_dask.source.matrix import (
    DaskMatrix,
    DenseMatrix,
    Matrix,
    Sliceable,
    SparseMatrix,
    Storage,
)
from cellucid_dask.store.location import Location


class AnnDataSource:
    """An AnnData object, or any other with its attributes."""

    def __init__(self, adata: Any) -> None:
        self._adata = adata
        filename = getattr(adata, "filename", None)
        self.name = Path(filename).name if filename else "the source"
        self.n_cells = int(adata.n_obs)

    @property
    def layers(self) -> list[str]:
        """Matrices that can be exported."""
        named = {"X": self._adata.X, "raw": self._adata.raw}
        # anndata 0.13 lists X among the layers, as None
        layers = sorted(name for name in self._adata.layers if name is not None)
        return [name for name, matrix in named.items() if matrix is not None] + layers

    @property
    def obs_keys(self) -> list[str]:
        """Columns of obs."""
        return [str(name) for name in self._adata.obs.columns]

    def cell_ids(self) -> list[str]:
        """Return the index of obs; that of a lazy AnnData is loaded here."""
        return [str(name) for name in self._adata.obs_names]

    def obs(self, key: str) -> Any:
        """Read one column; that of a lazy AnnData is loaded here."""
        frame = self._adata.obs[[key]]
        return (frame if isinstance(frame, pd.DataFrame) else frame.to_memory())[key]

    @property
    def obsm_widths(self) -> dict[str, int]:
        """Matrices of obsm, and their widths."""
        return {
            key: int(value.shape[1])
            for key, value in self._adata.obsm.items()
            if len(value.shape) == 2
        }

    def obsm(self, key: str) -> Sliceable:
        """Open one array."""
        values: Any = self._adata.obsm[key]
        lazy = isinstance(values, da.Array | h5py.Dataset)
        return values if lazy else as_dense(values)

    @property
    def obsp_keys(self) -> list[str]:
        """Matrices over cells."""
        return sorted(self._adata.obsp)

    def obsp(self, key: str) -> Matrix | None:
        """Open one of them."""
        return matrix_of(self._adata.obsp[key], f"obsp[{key!r}]")

    def var(self, layer: str) -> pd.DataFrame:
        """Read the var table of X and the layers, or of raw."""
        frame = self._adata.raw.var if layer == "raw" else self._adata.var
        return frame if isinstance(frame, pd.DataFrame) else frame.to_memory()

    def matrix(self, layer: str) -> Matrix | None:
        """Open X, raw or a layer."""
        if layer == "X":
            return matrix_of(self._adata.X)
        return matrix_of(self._adata.raw.X if layer == "raw" else self._adata.layers[layer])

    def fingerprint(self, layer: str) -> str:
        """Return a digest of a layer."""
        matrix = self.matrix(layer) if layer in self.layers else None
        return "" if matrix is None else matrix.fingerprint()


def matrix_of(values: Any, what: str = "Expression") -> Matrix | None:
    """Wrap whatever an AnnData, or a caller, holds a matrix in; errors call it `what`."""
    if values is None:
        return None
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    if isinstance(values, da.Array):
        return _dask_matrix(values, what)
    if sparse.issparse(values):
        values = values if values.format in ("csr", "csc") else values.tocsr()
        return SparseMatrix(values.data, values.indices, values.indptr, values.shape, values.format)
    if hasattr(values, "group"):  # anndata's backed sparse datasets
        return stored_matrix(values.group, _reader)
    if isinstance(values, h5py.Dataset):
        return stored_matrix(values, _reader)
    if hasattr(values, "shape") and len(values.shape) == 2 and hasattr(values, "dtype"):
        return DenseMatrix(values if hasattr(values, "chunks") else np.asarray(values))
    raise RequestError(
        f"{what} is a {type(values).__name__}: pass a two-dimensional numpy, scipy sparse, "
        "Dask, h5py or Zarr array."
    )


def _reader(array: Any) -> Any:
    if not isinstance(array, h5py.Dataset):
        return array
    filename = array.file.filename
    path = Path(filename.decode() if isinstance(filename, bytes) else filename)
    on_disk = path.is_file() and array.file.driver in ("sec2", "stdio")
    return hdf5.reader(array, Location(str(path.resolve()))) if on_disk else array


def _dask_matrix(array: da.Array, what: str) -> DaskMatrix:
    if array.ndim != 2:
        raise RequestError(f"{what} has {array.ndim} dimensions: it must have two.")
    if any(np.isnan(size) for sizes in array.chunks for size in sizes):
        raise RequestError(
            "The Dask array has blocks of unknown size: call its compute_chunk_sizes() first."
        )
    # the array's meta is an empty block of the type that all its blocks have
    storage: Storage = getattr(array._meta, "format", "dense")  # noqa: SLF001
    return DaskMatrix(array, storage if storage in {"csr", "csc"} else "dense")
