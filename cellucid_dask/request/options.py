"""The attributes of `Settings` as keywords of `export` and `plan`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypedDict, TypeVar

from cellucid_dask.errors import IN_PYTHON
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


def flag_of(name: str) -> str:
    """Return how an attribute of `Settings` is written on the command line."""
    option = _OPTIONS[name]
    known = option.metadata
    flag = known.get("flag") or (name.removesuffix("s") if known.get("repeat") else name)
    flag = flag.removeprefix("--").replace("_", "-")
    return f"--no-{flag}" if option.default is True else f"--{flag}"


def _in_python(name: str) -> str:
    """Return how an option is written in Python, with ``{}`` for its value."""
    option = _OPTIONS[name]
    if isinstance(option.default, bool):
        return f"{name}={not option.default}"
    is_list = option.metadata["metavar"].startswith("A,B") or option.metadata.get("repeat")
    return f"{name}=[{{}}]" if is_list else f"{name}={{}}"


_OPTIONS = {each.name: each for each in fields(Settings)}
IN_PYTHON |= {flag_of(name): _in_python(name) for name in _OPTIONS}
IN_PYTHON["--genes-file"] = _in_python("gene_identifiers")


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
