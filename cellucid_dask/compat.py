"""The API of the in-memory exporter, for arrays that may be larger than memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd

from cellucid_dask.api import export
from cellucid_dask.engine.result import ExportResult
from cellucid_dask.errors import RequestError
from cellucid_dask.types import PathOrUrl


def prepare(
    latent_space: Any = None,
    obs: pd.DataFrame | None = None,
    var: pd.DataFrame | None = None,
    gene_expression: Any = None,
    var_gene_id_column: str | None = "index",
    gene_identifiers: Sequence[str] | None = None,
    connectivities: Any = None,
    out_dir: PathOrUrl = "./exports",
    obs_keys: Sequence[str] | None = None,
    centroid_outlier_quantile: float = 0.95,
    centroid_min_points: int = 10,
    force: bool = False,
    var_quantization: Literal[8, 16] | None = None,
    obs_continuous_quantization: Literal[8, 16] | None = None,
    obs_categorical_dtype: Literal["auto", "uint8", "uint16"] = "auto",
    compression: int | None = None,
    dataset_name: str | None = None,
    dataset_description: str | None = None,
    dataset_id: str | None = None,
    source_name: str | None = None,
    source_url: str | None = None,
    source_citation: str | None = None,
    X_umap_1d: Any = None,
    X_umap_2d: Any = None,
    X_umap_3d: Any = None,
    vector_fields: Mapping[str, Any] | None = None,
) -> ExportResult:
    """Export arrays, with the arguments of ``cellucid.prepare``.

    Row i of every array belongs to the same cell. The index of `obs` is ignored.

    Parameters
    ----------
    latent_space
        (n_cells, k), the space in which outlier quantiles are computed. ``None`` uses the
        embedding with the most dimensions.
    obs
        Cell metadata, one row per cell.
    var
        Gene metadata, one row per column of `gene_expression`.
    gene_expression
        (n_cells, n_genes): numpy, scipy sparse, Dask, h5py or Zarr array, or a backed sparse
        dataset of anndata.
    var_gene_id_column
        The column of `var` with the gene names. ``"index"`` or ``None`` uses the index.
    gene_identifiers
        The genes to export, in this order. Unknown genes are skipped with a warning.
    connectivities
        (n_cells, n_cells), the neighbor graph.
    out_dir
        Folder, or URL of a prefix in any fsspec store.
    X_umap_1d, X_umap_2d, X_umap_3d
        (n_cells, d) coordinates. At least one is required.
    vector_fields
        (n_cells, d) displacements by name, such as ``velocity_umap_2d``.
    obs_keys, centroid_outlier_quantile, centroid_min_points, force
        As in `cellucid_dask.request.settings.Settings`, like all other arguments.

    Returns
    -------
    ExportResult
        A summary of the export.

    Raises
    ------
    RequestError
        The arrays are inconsistent, or the target is not valid. Nothing was written.
    ExportError
        The work failed. The target contains nothing that looks like a complete export.

    Examples
    --------
    >>> import cellucid_dask as cd
    >>> import numpy as np
    >>> import pandas as pd
    >>> random = np.random.default_rng(0)
    >>> result = cd.prepare(
    ...     obs=pd.DataFrame({"score": random.random(50)}),
    ...     var=pd.DataFrame(index=["CD3D", "LYZ"]),
    ...     gene_expression=random.random((50, 2), dtype=np.float32),
    ...     X_umap_2d=random.normal(size=(50, 2)),
    ...     out_dir="exports/arrays",
    ... )
    >>> result.n_cells, result.n_genes
    (50, 2)
    """
    embeddings = {
        f"X_umap_{width}d": _with_width(values, width)
        for width, values in ((1, X_umap_1d), (2, X_umap_2d), (3, X_umap_3d))
        if values is not None
    }
    if not embeddings:
        raise RequestError("Give at least one embedding: X_umap_1d, X_umap_2d or X_umap_3d.")
    _check_table("obs", obs)
    if gene_expression is not None:
        _check_table("var", var)
    # with "umap" in its key an array is not taken for a latent space
    vectors = {name: f"{name} over X_umap" for name in vector_fields or {}}
    arrays = embeddings | {
        vectors[name]: _two_dimensional(name, values)
        for name, values in (vector_fields or {}).items()
    }
    if latent_space is not None:
        arrays["latent_space"] = _two_dimensional("latent_space", latent_space)
    cells = pd.DataFrame(obs)
    cells.columns = cells.columns.map(str)
    graphs = {} if connectivities is None else {"connectivities": connectivities}
    expression = {} if gene_expression is None else {"gene_expression": gene_expression}
    _check_rows(len(cells), arrays | expression | graphs)
    adata = SimpleNamespace(
        n_obs=len(cells),
        obs=cells,
        var=pd.DataFrame(var),
        X=gene_expression,
        raw=None,
        layers={},
        obsm=arrays,
        obsp=graphs,
    )
    return export(
        adata,
        out_dir,
        gene_identifiers=gene_identifiers,
        skip_missing_genes=True,
        var_gene_id_column=var_gene_id_column or "index",
        embeddings=tuple(embeddings),
        latent=None if latent_space is None else "latent_space",
        connectivities=None if connectivities is None else "connectivities",
        vector_fields=vectors or None,
        obs_keys=obs_keys,
        centroid_outlier_quantile=centroid_outlier_quantile,
        centroid_min_points=centroid_min_points,
        force=force,
        var_quantization=var_quantization,
        obs_continuous_quantization=obs_continuous_quantization,
        obs_categorical_dtype=obs_categorical_dtype,
        compression=compression,
        dataset_name=dataset_name,
        dataset_description=dataset_description,
        dataset_id=dataset_id,
        source_name=source_name,
        source_url=source_url,
        source_citation=source_citation,
    )


def _check_table(name: str, table: Any) -> None:
    if table is None:
        wanted = "obs is" if name == "obs" else "var is needed with gene_expression, and is"
        raise RequestError(f"{wanted} missing: pass a DataFrame as {name}=.")
    if not isinstance(table, pd.DataFrame):
        raise RequestError(f"{name} is a {type(table).__name__}: pass a pandas DataFrame.")


def _two_dimensional(name: str, values: Any) -> Any:
    given = values if hasattr(values, "shape") else pd.DataFrame(values).to_numpy()
    if isinstance(given, pd.DataFrame | pd.Series):
        given = given.to_numpy()
    if len(given.shape) == 1:
        given = given[:].reshape(-1, 1)
    if len(given.shape) != 2:
        raise RequestError(f"{name} has {len(given.shape)} dimensions: it must have two.")
    return given


def _with_width(values: Any, width: int) -> Any:
    name = f"X_umap_{width}d"
    array = _two_dimensional(name, values)
    if array.shape[1] != width:
        raise RequestError(f"{name} has {array.shape[1]} columns: it must have {width}.")
    return array


def _check_rows(n_cells: int, arrays: Mapping[str, Any]) -> None:
    for name, values in arrays.items():
        if not hasattr(values, "shape"):
            raise RequestError(f"{name} is a {type(values).__name__}: pass an array.")
    wrong = [
        f"{name} has {int(values.shape[0]):,}"
        for name, values in arrays.items()
        if values.shape[0] != n_cells
        and not (name == "gene_expression" and n_cells in values.shape)  # refused by export
    ]
    if wrong:
        raise RequestError(
            f"obs has {n_cells:,} rows, but {', '.join(wrong)}: all must be of the same cells."
        )
