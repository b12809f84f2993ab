"""File names and manifests, against the words of the format."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.fields import obs
from cellucid_dask.format import manifests, names

STAMP = "2025-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("CD3D", "CD3D"),
        ("HLA-DRA", "HLA-DRA"),
        ("a/b", "a_b"),
        ("a / b", "a_b"),
        ("a_/_b", "a___b"),
        ("../x", "x"),
        ("._a_.", "a"),
        ("细胞", "field"),
        ("", "field"),
        ("_", "field"),
        ("-", "-"),
        ("β-actin", "-actin"),
        ("x.1", "x.1"),
        ("\ud83d\ude00a\n", "a"),
    ],
)
def test_safe_name(key: Any, name: Any) -> None:
    assert names.safe_name(key) == name


@given(st.text())
def test_safe_names_are_safe_and_stable(key: Any) -> None:
    name = names.safe_name(key)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert name.strip("._") == name
    assert names.safe_name(name) == name


def test_collisions_name_the_first_key() -> None:
    keys = ["a/b", "c", "a b", "a:b", "c"]
    assert names.collisions(keys) == [
        ("a/b", "a b", "a_b"),
        ("a/b", "a:b", "a_b"),
        ("c", "c", "c"),
    ]
    assert names.collisions(["a", "A"]) == []


def test_case_collisions_leave_out_equal_names() -> None:
    assert names.case_collisions(["Xist", "XIST", "Xist", "x/y", "X_Y"]) == [
        ("Xist", "XIST"),
        ("x/y", "X_Y"),
    ]
    assert names.case_collisions(["a/b", "a b"]) == []


def test_paths() -> None:
    assert names.gene_path("HLA/A", 8, compressed=True) == "var/HLA_A.values.u8.gz"
    assert names.gene_path("{key}", None, compressed=False) == "var/key.values.f32"
    assert names.gene_path("a", 16, compressed=False) == "var/a.values.u16"
    assert names.points_path(2, compressed=True) == "points_2d.bin.gz"
    assert names.obs_values_path("n genes", 16, compressed=False) == "obs/n_genes.values.u16"
    assert (
        names.obs_codes_path("cell type", "uint8", compressed=True) == "obs/cell_type.codes.u8.gz"
    )
    assert names.obs_codes_path("{ext}", "uint16", compressed=False) == "obs/ext.codes.u16"
    assert names.obs_outliers_path("x", None, compressed=True) == "obs/x.outliers.f32.gz"
    assert (
        names.vectors_path("velocity_umap", 3, compressed=False) == "vectors/velocity_umap_3d.bin"
    )
    assert names.edge_sources_path(compressed=True) == "connectivity/edges.src.bin.gz"
    assert names.edge_destinations_path(compressed=False) == "connectivity/edges.dst.bin"


@pytest.mark.parametrize(
    ("given_id", "name", "target", "expected"),
    [
        ("me", "My Data", "/x/y", "me"),
        (None, "My Data!", "/x/y", "My_Data"),
        (None, None, "s3://bucket/atlas/", "atlas"),
        (None, "", "atlas", "atlas"),
    ],
)
def test_dataset_id(given_id: Any, name: Any, target: Any, expected: Any) -> None:
    assert names.dataset_id(given_id, name, target) == expected


def test_quantized_var_manifest() -> None:
    manifest = manifests.var_manifest(5, "index", 6, 8, [("b", np.float32(0.1), 2), ("a", 0, 0)])
    assert manifest == {
        "_format": "compact_v1",
        "n_points": 5,
        "var_gene_id_column": "index",
        "compression": 6,
        "quantization": 8,
        "_varSchema": {
            "kind": "continuous",
            "pathPattern": "var/{key}.values.u8.gz",
            "ext": "u8",
            "dtype": "uint8",
            "quantized": True,
            "quantizationBits": 8,
        },
        "fields": [["b", float(np.float32(0.1)), 2.0], ["a", 0.0, 0.0]],
    }


def test_plain_var_manifest() -> None:
    manifest = manifests.var_manifest(5, "symbol", None, None, [("a", 0, 1)])
    assert manifest["fields"] == [["a"]]
    assert manifest["compression"] is None
    assert manifest["_varSchema"] == {
        "kind": "continuous",
        "pathPattern": "var/{key}.values.f32",
        "ext": "f32",
        "dtype": "float32",
        "quantized": False,
    }


def columns(bits: Any) -> Any:
    points = {3: np.zeros((12, 3), np.float32), 2: np.zeros((12, 2), np.float32)}
    number = obs.continuous("n", np.arange(12), bits)
    group = obs.categorical(
        "g",
        np.array(["x"] * 11 + ["y"]),
        points=points,
        latent=None,
        dtype="auto",
        bits=bits,
        outlier_quantile=0.95,
        min_points=10,
    )
    return number.without_payload(), group.without_payload()


def obs_document(bits: Any, compression: Any) -> Any:
    number, group = columns(bits)
    return manifests.obs_manifest(
        12,
        compression,
        bits,
        centroid_outlier_quantile=0.95,
        continuous=[number],
        categorical=[group],
    )


def test_quantized_obs_manifest() -> None:
    def centroid(dimension: Any) -> Any:
        return [{"category": "x", "position": [0.0] * dimension, "n_points": 11}]

    assert obs_document(16, 1) == {
        "_format": "compact_v1",
        "n_points": 12,
        "centroid_outlier_quantile": 0.95,
        "latent_key": "latent_space",
        "compression": 1,
        "_obsSchemas": {
            "continuous": {
                "pathPattern": "obs/{key}.values.u16.gz",
                "ext": "u16",
                "dtype": "uint16",
                "quantized": True,
                "quantizationBits": 16,
            },
            "categorical": {
                "codesPathPattern": "obs/{key}.codes.{ext}.gz",
                "outlierPathPattern": "obs/{key}.outliers.u16.gz",
                "outlierExt": "u16",
                "outlierDtype": "uint16",
                "outlierQuantized": True,
            },
        },
        "_continuousFields": [["n", 0.0, 11.0]],
        "_categoricalFields": [
            ["g", ["x", "y"], "uint8", 255, {"2": centroid(2), "3": centroid(3)}, 1.0, 1.0]
        ],
    }


def test_plain_and_empty_obs_manifest() -> None:
    manifest = obs_document(None, None)
    assert manifest["_continuousFields"] == [["n"]]
    assert len(manifest["_categoricalFields"][0]) == 5
    assert manifest["_obsSchemas"]["continuous"]["pathPattern"] == "obs/{key}.values.f32"
    assert "quantizationBits" not in manifest["_obsSchemas"]["continuous"]
    empty = manifests.obs_manifest(
        3, None, 8, centroid_outlier_quantile=0.95, continuous=[], categorical=[]
    )
    assert empty["_obsSchemas"] == {}
    assert empty["_continuousFields"] == empty["_categoricalFields"] == []


BASE: dict[str, Any] = {
    "dataset_id": "d",
    "name": "D",
    "created_at": STAMP,
    "version": "0.1",
    "n_cells": 12,
    "n_genes": 3,
    "compression": 6,
    "var_quantization": 8,
    "obs_continuous_quantization": None,
    "obs_categorical_dtype": "auto",
}


def test_identity_of_genes_alone() -> None:
    assert manifests.identity(**BASE) == {
        "version": 2,
        "id": "d",
        "name": "D",
        "description": "",
        "created_at": STAMP,
        "cellucid_data_version": "0.1",
        "stats": {
            "n_cells": 12,
            "n_genes": 3,
            "n_obs_fields": 0,
            "n_categorical_fields": 0,
            "n_continuous_fields": 0,
            "has_connectivity": False,
            "n_edges": None,
        },
        "obs_fields": [],
        "export_settings": {
            "compression": 6,
            "var_quantization": 8,
            "obs_continuous_quantization": None,
            "obs_categorical_dtype": "auto",
        },
    }


def test_identity_of_everything() -> None:
    document = manifests.identity(
        **BASE,
        dimensions={3, 2},
        obs=obs_document(8, 6),
        n_edges=0,
        source_name="S",
        source_citation="C",
        vector_fields={"velocity_umap": [3, 2], "drift": [2]},
    )
    assert document["embeddings"] == {
        "available_dimensions": [2, 3],
        "default_dimension": 3,
        "files": {"2d": "points_2d.bin.gz", "3d": "points_3d.bin.gz"},
    }
    assert document["obs_fields"] == [
        {"key": "n", "kind": "continuous"},
        {"key": "g", "kind": "category", "n_categories": 2},
    ]
    stats = document["stats"]
    assert (stats["n_obs_fields"], stats["n_categorical_fields"]) == (2, 1)
    assert (stats["has_connectivity"], stats["n_edges"]) == (True, 0)
    assert document["source"] == {"name": "S", "citation": "C"}
    vectors = document["vector_fields"]
    assert vectors["default_field"] == "velocity_umap"
    assert vectors["fields"]["velocity_umap"] == {
        "label": "Velocity (UMAP)",
        "available_dimensions": [2, 3],
        "default_dimension": 3,
        "files": {
            "2d": "vectors/velocity_umap_2d.bin.gz",
            "3d": "vectors/velocity_umap_3d.bin.gz",
        },
        "basis": "umap",
    }
    assert "basis" not in vectors["fields"]["drift"]


def test_first_vector_field_is_the_default_without_velocity() -> None:
    document = manifests.identity(**BASE, vector_fields={"b": [2], "a": [2]})
    assert document["vector_fields"]["default_field"] == "a"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_ranges_round_trip_exactly(value: Any) -> None:
    manifest = manifests.var_manifest(1, "index", None, 8, [("a", np.float32(value), value)])
    read = json.loads(manifests.to_json(manifest))["fields"][0]
    assert np.float32(read[1]) == np.float32(value) == read[2]


def test_json_is_strict_compact_utf8() -> None:
    assert manifests.to_json({"ä": [np.int64(1), np.float32(0.5), np.bool_(1)]}) == (
        '{"ä":[1,0.5,true]}'.encode()
    )
    assert manifests.to_json({"a": 1}, indent=2) == b'{\n  "a": 1\n}'
    for value in (np.nan, np.inf, np.float32("nan")):
        with pytest.raises(ValueError, match="JSON"):
            manifests.to_json({"a": value})
    with pytest.raises(TypeError, match="JSON"):
        manifests.to_json({"a": object()})


@given(st.text(st.characters()))
def test_any_text_survives_json(text: Any) -> None:
    content = manifests.to_json({"key": text})
    content.decode("utf-8")
    assert json.loads(content) == {"key": text}
