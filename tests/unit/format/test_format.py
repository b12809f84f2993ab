"""File names and manifests, against the words of the format."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.format import layout, manifests, names, parse
from cellucid_dask.format.edges import connectivity_manifest
from cellucid_dask.format.identity import describe_dataset

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


def centroid(dimension: int) -> Any:
    return [{"category": "x", "position": [0.0] * dimension, "n_points": 11}]


def obs_document(bits: Any, compression: Any) -> Any:
    ranges = (None, None) if bits is None else ((0, np.float32(11)), (1.0, 1.0))
    centroids = {3: centroid(3), 2: centroid(2)}
    return manifests.obs_manifest(
        12,
        compression,
        bits,
        centroid_outlier_quantile=0.95,
        continuous=[manifests.number_entry("n", ranges[0])],
        categorical=[manifests.category_entry("g", ("x", "y"), "uint8", 255, centroids, ranges[1])],
    )


def test_quantized_obs_manifest() -> None:
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


ABOUT = {
    "id": "d",
    "name": "D",
    "description": "",
    "created_at": STAMP,
    "cellucid_data_version": "0.1",
}
SETTINGS = {
    "compression": 6,
    "var_quantization": 8,
    "obs_continuous_quantization": None,
    "obs_categorical_dtype": "auto",
}


def test_identity_of_genes_alone() -> None:
    assert describe_dataset(ABOUT, 12, 3, SETTINGS) == {
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
    document = describe_dataset(
        ABOUT,
        12,
        3,
        SETTINGS,
        dimensions={3, 2},
        obs=obs_document(8, 6),
        n_edges=0,
        source={"name": "S", "url": None, "citation": "C"},
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
    document = describe_dataset(ABOUT, 12, 3, SETTINGS, vector_fields={"b": [2], "a": [2]})
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


PATHS = [
    lambda key, compressed: names.gene_path(key, 8, compressed),
    lambda key, compressed: names.obs_values_path(key, 16, compressed),
    lambda key, compressed: names.obs_codes_path(key, "uint8", compressed),
    lambda key, compressed: names.obs_outliers_path(key, None, compressed),
    lambda _, compressed: names.points_path(2, compressed),
    lambda key, compressed: names.vectors_path(names.safe_name(key), 3, compressed),
    lambda _, compressed: names.edge_sources_path(compressed),
    lambda _, compressed: names.edge_destinations_path(compressed),
]


@given(st.sampled_from(PATHS), st.text(), st.booleans())
def test_every_file_that_is_written_may_be_removed(path: Any, key: Any, compressed: Any) -> None:
    file = path(key, compressed)
    assert layout.is_removable(file)
    assert not layout.is_extra(file)
    folder, _, _ = file.rpartition("/")
    assert folder in ("", *layout.FOLDERS)


@pytest.mark.parametrize(
    "file",
    [
        *layout.DOCUMENTS,
        "notes.txt",
        "points_4d.bin",
        "var/x",
        "var/sub/x.values.u8",
        "obs/a.values.u8.gz.part",
        "elsewhere/x.values.u8",
        "x.values.u8",
        "",
    ],
)
def test_nothing_else_is_removed(file: Any) -> None:
    assert not layout.is_removable(file)


@given(st.permutations([*layout.DOCUMENTS, "checksums.sha256", "aliases.json"]))
def test_the_identity_is_published_last(files: Any) -> None:
    assert layout.in_publication_order(files) == [
        "var_manifest.json",
        "connectivity_manifest.json",
        "obs_manifest.json",
        "aliases.json",
        "checksums.sha256",
        "dataset_identity.json",
    ]
    assert layout.in_publication_order(["var_manifest.json"]) == ["var_manifest.json"]


def everything() -> Any:
    """Return the documents of an export of everything, by name."""
    obs = obs_document(8, 6)
    identity = describe_dataset(
        ABOUT, 12, 1, SETTINGS, dimensions=[2], obs=obs, n_edges=4, vector_fields={"v": [2]}
    )
    return {
        names.IDENTITY: identity,
        names.OBS_MANIFEST: obs,
        names.VAR_MANIFEST: manifests.var_manifest(12, "index", 6, 8, [("a", 0, 2)]),
        names.CONNECTIVITY_MANIFEST: connectivity_manifest(12, 4, 3, 6),
    }


def test_documents_are_parsed_back() -> None:
    content = everything()
    documents = parse.documents({name: manifests.to_json(each) for name, each in content.items()})
    assert documents.damage == []
    assert documents.json == content
    assert documents.identity == content[names.IDENTITY]
    assert set(documents.parts) == set(content)
    assert {part.n_cells for part in documents.parts.values()} == {12}
    assert {part.level for part in documents.parts.values()} == {6}
    assert documents.genes is not None
    assert documents.genes.vectors["a"].value_range == (0, 2)
    assert sorted(file.path for file in documents.files()) == [
        "connectivity/edges.dst.bin.gz",
        "connectivity/edges.src.bin.gz",
        "obs/g.codes.u8.gz",
        "obs/g.outliers.u8.gz",
        "obs/n.values.u8.gz",
        "points_2d.bin.gz",
        "var/a.values.u8.gz",
        "vectors/v_2d.bin.gz",
    ]


@pytest.mark.parametrize("name", layout.DOCUMENTS)
def test_a_damaged_document_leaves_the_others(name: Any) -> None:
    files = {each: manifests.to_json(content) for each, content in everything().items()}
    documents = parse.documents({**files, name: b"{"})
    assert documents.damage == [f"{name} is not JSON"]
    assert set(documents.parts) == set(files) - {name}
    documents = parse.documents({**files, name: b"{}"})
    (damage,) = documents.damage
    assert damage.startswith(f"{name} has ")
    assert set(documents.parts) == set(files) - {name}
