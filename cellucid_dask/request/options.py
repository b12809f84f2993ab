"""The attributes of `Settings` as keywords of `export` and `plan`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar

from cellucid_dask.request.settings import Settings

Call = TypeVar("Call", bound=Callable[..., Any])


class ExportOptions(TypedDict, total=False):
    """The attributes of `Settings` as keywords, for editors and type checkers."""

    layer: str
    normalize: Literal["log1p-cp10k"] | None
    gene_identifiers: Sequence[str] | None
    genes_from: str | None
    var_gene_id_column: str
    gene_aliases: str | None
    make_genes_unique: bool
    shorten_gene_names: bool
    skip_missing_genes: bool
    genes_only: bool
    obs_keys: Sequence[str] | None
    cell_ids: bool
    embeddings: Sequence[str] | None
    latent: str | None
    connectivities: str | None
    vector_fields: Sequence[str] | Mapping[str, str] | None
    format: str
    var_quantization: Literal[8, 16] | None
    obs_continuous_quantization: Literal[8, 16] | None
    obs_categorical_dtype: Literal["auto", "uint8", "uint16"]
    compression: int | None
    centroid_outlier_quantile: float
    centroid_min_points: int
    dataset_id: str | None
    dataset_name: str | None
    dataset_description: str | None
    source_name: str | None
    source_url: str | None
    source_citation: str | None
    created_at: str | None
    memory_budget: int | str | None
    timeout: float | str
    scratch: str | None
    storage_options: Mapping[str, Any] | None
    source_storage_options: Mapping[str, Any] | None
    allow_links: bool
    force: bool
    resume: bool
    page: bool
    progress: bool


def spell_out_options(call: Call) -> Call:
    """Give a call that takes ``**options`` a signature with all of them, for help()."""
    parameters = [
        each
        for each in inspect.signature(call).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    options = [
        each.replace(default=None) if each.name.endswith("storage_options") else each
        for each in inspect.signature(Settings).parameters.values()
    ]
    call.__signature__ = inspect.Signature([*parameters, *options])  # type: ignore[attr-defined]
    return call
