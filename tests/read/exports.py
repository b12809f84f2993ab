"""Exports to read: of real data, and with a graph and a vector field added by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import forget_checksums

REAL = [
    ("pbmc68k_reduced.h5ad", "X", {}),
    ("pbmc68k_reduced.h5ad", "raw", {"var_quantization": 16}),
    ("cellrank_200.h5ad", "Ms", {"compression": None}),
    ("bruce_spatial.h5ad", "X", {"obs_continuous_quantization": None}),
    ("scimap_protein.h5ad", "log", {"var_quantization": None}),
    ("pbmc_small.h5ad", "raw", {}),
    ("multimodal_sparse_obsm.h5ad", "X", {"genes_only": True}),
    pytest.param(
        "scvelo_pancreas_50.h5ad",
        "X",
        {"genes_only": True, "compression": None},
        marks=pytest.mark.slow,
    ),
    ("10x-10k-subset.zarr", "X", {"genes_only": True, "make_genes_unique": True}),
    ("ventolab_no_x.h5ad", "X", {}),
]


def add_graph(target: Path, edges: list[tuple[int, int]], n_cells: int) -> None:
    """Write a neighbor graph into an export, and a vector field like its points."""
    (target / "connectivity").mkdir()
    for name, ends in zip(("src", "dst"), zip(*edges, strict=True), strict=True):
        data = gzip.compress(np.array(ends, "<u2").tobytes(), mtime=0)
        (target / f"connectivity/edges.{name}.bin.gz").write_bytes(data)
    degree = np.bincount(np.array(edges).ravel())
    manifest = {
        "format": "edge_pairs", "n_cells": n_cells, "n_edges": len(edges),
        "max_neighbors": int(degree.max()), "index_bytes": 2, "index_dtype": "uint16",
        "sourcesPath": "connectivity/edges.src.bin.gz",
        "destinationsPath": "connectivity/edges.dst.bin.gz", "compression": 6,
    }  # fmt: skip
    (target / "connectivity_manifest.json").write_text(json.dumps(manifest))
    (target / "vectors").mkdir()
    file = "vectors/velocity_umap_2d.bin.gz"
    (target / file).write_bytes((target / "points_2d.bin.gz").read_bytes())
    identity = json.loads((target / "dataset_identity.json").read_text())
    identity["stats"] |= {"has_connectivity": True, "n_edges": len(edges)}
    identity["vector_fields"] = {
        "default_field": "velocity_umap",
        "fields": {
            "velocity_umap": {
                "label": "Velocity (UMAP)", "available_dimensions": [2], "default_dimension": 2,
                "files": {"2d": file}, "basis": "umap",
            }
        },
    }  # fmt: skip
    (target / "dataset_identity.json").write_text(json.dumps(identity))
    forget_checksums(target)
