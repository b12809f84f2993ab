"""Damage of every kind that can be done to an export, and the finding it must give."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import edit_json

N_CELLS = 90
EDGES = [(0, 1), (0, 5), (3, 4), (3, 89)]


def rewrite(file: Path, edit: Callable[[Any], Any], dtype: str = "u1") -> None:
    """Change the values of a file, and pack them properly again."""
    values = np.frombuffer(gzip.decompress(file.read_bytes()), dtype).copy()
    changed = edit(values)
    file.write_bytes(gzip.compress((values if changed is None else changed).tobytes(), mtime=0))


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def write(file: Path, data: bytes = b"") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


GENE = "var/gene7.values.u8.gz"
CELL_TYPE = "obs/cell_type.codes.u8.gz"
IDENTITY, OBS, VAR = "dataset_identity.json", "obs_manifest.json", "var_manifest.json"
GRAPH = "connectivity_manifest.json"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "gene deleted": (lambda t: (t / GENE).unlink(), f"{GENE} is missing"),
    "obs deleted": (lambda t: (t / CELL_TYPE).unlink(), f"{CELL_TYPE} is missing"),
    "points deleted": (lambda t: (t / "points_2d.bin.gz").unlink(), "points_2d.bin.gz is missing"),
    "identity deleted": (lambda t: (t / IDENTITY).unlink(), f"{IDENTITY} is missing"),
    "obs manifest deleted": (lambda t: (t / OBS).unlink(), f"{OBS} is missing"),
    "var manifest deleted": (lambda t: (t / VAR).unlink(), "n_genes is 20"),
    "graph manifest deleted": (lambda t: (t / GRAPH).unlink(), "has_connectivity is True"),
    "truncated": (
        lambda t: (t / GENE).write_bytes((t / GENE).read_bytes()[:-3]),
        f"{GENE} is cut short",
    ),
    "emptied": (lambda t: (t / GENE).write_bytes(b""), f"{GENE} is cut short"),
    "not gzip": (lambda t: (t / GENE).write_bytes(b"\0" * 50), f"{GENE} cannot be decompressed"),
    "bit flipped": (
        lambda t: (t / GENE).write_bytes(
            (t / GENE).read_bytes()[:-6] + b"\xff" + (t / GENE).read_bytes()[-5:]
        ),
        f"{GENE} cannot be decompressed",
    ),
    "trailing bytes": (
        lambda t: (t / GENE).write_bytes((t / GENE).read_bytes() + b"\0"),
        f"{GENE} goes on after its gzip member",
    ),
    "two members": (
        lambda t: (t / GENE).write_bytes(2 * (t / GENE).read_bytes()),
        f"{GENE} goes on after its gzip member",
    ),
    "a cell too few": (lambda t: rewrite(t / GENE, lambda v: v[:-1]), f"{GENE} holds"),
    "a cell too many": (
        lambda t: rewrite(t / GENE, lambda v: np.append(v, v[:1])),
        f"{GENE} holds more",
    ),
    "no highest value": (
        lambda t: rewrite(t / GENE, lambda v: np.minimum(v, 253)),
        f"{GENE} has no value at one end",
    ),
    "no such category": (
        lambda t: rewrite(t / CELL_TYPE, lambda v: np.where(v == 1, 4, v).astype("u1")),
        f"{CELL_TYPE} has",
    ),
    "points not finite": (
        lambda t: rewrite(t / "points_2d.bin.gz", lambda v: v.put(3, np.nan), "<f4"),
        "points_2d.bin.gz has 1 coordinates that are not finite",
    ),
    "vectors cut": (
        lambda t: rewrite(t / "vectors/velocity_umap_2d.bin.gz", lambda v: v[:-2], "<f4"),
        "vectors/velocity_umap_2d.bin.gz holds",
    ),
    "gene left over": (lambda t: write(t / "var/old.values.u8.gz"), "var/old.values.u8.gz is left"),
    "receipt left over": (lambda t: write(t / ".cellucid-dask/1.json"), ".cellucid-dask/1.json is"),
    "strange file": (lambda t: write(t / "odd\nname"), "odd\ufffdname is left over"),
    "wrong n_cells": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_cells=91)),
        "documents differ in their cells",
    ),
    "wrong n_genes": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_genes=19)),
        "n_genes is 19, the manifests say 20",
    ),
    "wrong n_edges": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["stats"].update(n_edges=3)),
        "n_edges is 3",
    ),
    "wrong obs fields": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["obs_fields"].pop()),
        "obs_fields",
    ),
    "wrong quantization": (
        lambda t: edit_json(
            t / IDENTITY, lambda m: m["export_settings"].update(var_quantization=16)
        ),
        "var_quantization is 16",
    ),
    "wrong default dimension": (
        lambda t: edit_json(t / IDENTITY, lambda m: m["embeddings"].update(default_dimension=3)),
        "default_dimension",
    ),
    "wrong path": (
        lambda t: edit_json(t / VAR, lambda m: m["_varSchema"].update(pathPattern="../{key}")),
        f"{VAR} has pathPattern",
    ),
    "range upside down": (
        lambda t: edit_json(t / VAR, lambda m: m["fields"][0].reverse()),
        f"{VAR} ",
    ),
    "not JSON": (lambda t: write(t / OBS, b'{"a":NaN}'), f"{OBS} is not JSON"),
    "edges unsorted": (
        lambda t: [
            rewrite(t / f"connectivity/edges.{end}.bin.gz", lambda v: v[::-1], "<u2")
            for end in ("src", "dst")
        ],
        "the edges are not sorted",
    ),
    "edges twice": (
        lambda t: [
            rewrite(t / f"connectivity/edges.{end}.bin.gz", lambda v: v[[0, 1, 2, 2]], "<u2")
            for end in ("src", "dst")
        ],
        "the edges are not sorted, or not unique",
    ),
    "edges backwards": (
        lambda t: swap(t / "connectivity/edges.src.bin.gz", t / "connectivity/edges.dst.bin.gz"),
        "from a lower to a higher cell",
    ),
    "edges out of range": (
        lambda t: rewrite(t / "connectivity/edges.dst.bin.gz", lambda v: v.put(3, 90), "<u2"),
        "name cells that do not exist",
    ),
    "edges cut": (
        lambda t: rewrite(t / "connectivity/edges.dst.bin.gz", lambda v: v[:-1], "<u2"),
        "edges.dst.bin.gz holds",
    ),
    "wrong max_neighbors": (
        lambda t: edit_json(t / GRAPH, lambda m: m.update(max_neighbors=7)),
        "give a cell 2 neighbors, not 7",
    ),
}
