"""The in-memory exporter, run by the Python that it is installed in: `in_memory.py FILE TARGET`."""

from __future__ import annotations

import sys

import anndata as ad
from cellucid import prepare


def main(source: str, target: str) -> None:
    data = ad.read_zarr(source) if source.endswith(".zarr") else ad.read_h5ad(source)
    umap = data.obsm["X_umap"]
    prepare(
        latent_space=umap,
        obs=data.obs,
        var=data.var,
        gene_expression=data.X,
        embeddings={"X_umap": umap},
        out_dir=target,
        var_quantization=8,
        obs_continuous_quantization=8,
        obs_categorical_dtype="uint8",
        compression=6,
        dataset_id="benchmark",
        dataset_name="Benchmark",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
