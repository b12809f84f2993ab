"""What else options are called: by other programs, and by those who write them from memory."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_OTHER_NAMES = {
    "layer": "layers assay matrix use_raw",
    "normalize": "log1p log_normalize",
    "gene_identifiers": "genes gene_names gene_list var_names features",
    "var_gene_id_column": "gene_id_column gene_column gene_symbols var_key",
    "gene_aliases": "aliases symbols",
    "obs_keys": "obs obs_columns columns annotations color",
    "embeddings": "embedding basis obsm obsm_keys umap",
    "latent": "latent_space use_rep",
    "connectivities": "graph neighbors knn obsp",
    "vector_fields": "velocity vectors",
    "var_quantization": "quantization bits gene_quantization",
    "obs_continuous_quantization": "obs_quantization",
    "compression": "compression_level gzip level",
    "dataset_id": "id",
    "dataset_name": "name title",
    "dataset_description": "description",
    "memory_budget": "memory memory_limit max_memory mem",
    "scratch": "tmp tmpdir temp_dir temporary_directory",
    "storage_options": "target_storage_options",
    "force": "overwrite replace",
    "page": "html viewer",
    "progress": "progress_bar verbose",
}
_OF_DASK = {"n_workers", "n_jobs", "n_threads", "threads", "scheduler", "client"}


def meant_by(name: str, options: Collection[str]) -> str | None:
    """Return the option that was probably meant by a name that is none."""
    of_name = {each: each for each in options}
    for option in options:
        of_name |= dict.fromkeys(_OTHER_NAMES.get(option, "").split(), option)
    near = get_close_matches(name.lower(), of_name, n=1, cutoff=0.75)
    return of_name[near[0]] if near else None


def hint_for(name: str, options: Collection[str]) -> str:
    """Return the end of a sentence about a keyword argument that does not exist."""
    if name in _OF_DASK:
        return (
            ": tasks run where Dask runs them, so start a distributed.Client first, or use "
            "dask.config.set(scheduler=...)."
        )
    near = meant_by(name, options)
    return f": did you mean {near}?" if near else "."
