"""Vector fields are drawn over their embedding, at its scale."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask import ExportWarning, RequestError
from tests.helpers import SETTINGS, run_command, small_anndata, tree_bytes, write_h5ad, write_zarr
from tests.viewer_reader import ReadExport, check


@pytest.fixture
def moving() -> ad.AnnData:
    """Return cells as scVelo leaves them, with an embedding of three dimensions beside."""
    adata = small_anndata()
    random = np.random.default_rng(5)
    adata.obsm["X_umap_3d"] = random.normal(size=(40, 3))
    adata.obsm["velocity_umap"] = random.normal(size=(40, 2))
    adata.obsm["velocity_umap_3d"] = random.normal(size=(40, 3)).astype(np.float32)
    adata.obsm["velocity_umap_2d"] = random.normal(size=(40, 2))
    adata.obsm["drift"] = random.normal(size=(40, 1))
    return adata


def export(adata: Any, target: Path, **options: Any) -> ReadExport:
    options = {"embeddings": ["X_umap", "X_umap_3d"], **options}
    cellucid_dask.export(adata, target, **options)
    return check(target)


def assert_vectors(
    export: ReadExport, adata: ad.AnnData, field: str, key: str, embedding: str
) -> None:
    """Compare with the array of obsm in the scale that its embedding got."""
    points = np.asarray(adata.obsm[embedding], np.float64)
    scale = 2 / np.ptp(points, axis=0).max()
    expected = np.asarray(adata.obsm[key], np.float64) * scale
    found = export.vector(field, points.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_what_scvelo_leaves(moving: ad.AnnData, tmp_path: Path) -> None:
    found = export(moving, tmp_path / "export", vector_fields=["velocity_umap"])

    assert_vectors(found, moving, "velocity_umap", "velocity_umap", "X_umap")
    assert found.identity["vector_fields"] == {
        "default_field": "velocity_umap",
        "fields": {
            "velocity_umap": {
                "label": "Velocity (UMAP)",
                "available_dimensions": [2],
                "default_dimension": 2,
                "files": {"2d": "vectors/velocity_umap_2d.bin.gz"},
                "basis": "umap",
            }
        },
    }


def test_a_point_and_where_it_goes_are_drawn_alike(moving: ad.AnnData, tmp_path: Path) -> None:
    moving.obsm["step"] = moving.obsm["X_umap"][::-1] - moving.obsm["X_umap"]
    found = export(moving, tmp_path / "export", vector_fields=["step"], compression=None)

    points = found.points(2).astype(np.float64)
    np.testing.assert_allclose(points + found.vector("step", 2), points[::-1], atol=1e-6)


def test_an_explicit_name_wins(moving: ad.AnnData, tmp_path: Path) -> None:
    keys = ["velocity_umap", "velocity_umap_2d", "velocity_umap_3d"]
    for order in (keys, keys[::-1]):
        found = export(moving, tmp_path / order[0], vector_fields=order)

        assert_vectors(found, moving, "velocity_umap", "velocity_umap_2d", "X_umap")
        assert_vectors(found, moving, "velocity_umap", "velocity_umap_3d", "X_umap_3d")
        field = found.identity["vector_fields"]["fields"]["velocity_umap"]
        assert field["available_dimensions"] == [2, 3]
        assert field["default_dimension"] == 3


def test_names_of_ones_own(moving: ad.AnnData, tmp_path: Path) -> None:
    names = {"slow": "velocity_umap", "fast_3d": "velocity_umap_3d"}
    found = export(moving, tmp_path / "export", vector_fields=names)

    assert_vectors(found, moving, "slow", "velocity_umap", "X_umap")
    assert_vectors(found, moving, "fast", "velocity_umap_3d", "X_umap_3d")
    described = found.identity["vector_fields"]
    assert described["default_field"] == "fast"
    assert all("basis" not in field for field in described["fields"].values())


def test_a_dimension_without_points_is_left_out(moving: ad.AnnData, tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="'drift' is 1D, but the embeddings are 2D and 3D"):
        found = export(moving, tmp_path / "export", vector_fields=["drift", "velocity_umap"])

    assert set(found.identity["vector_fields"]["fields"]) == {"velocity_umap"}


def test_nothing_left_is_nothing_said(moving: ad.AnnData, tmp_path: Path) -> None:
    found = export(moving, tmp_path / "export", vector_fields=["drift"])

    assert "vector_fields" not in found.identity


def test_a_vector_field_is_not_taken_for_an_embedding(moving: ad.AnnData, tmp_path: Path) -> None:
    keys = ["drift", "velocity_umap", "velocity_umap_2d"]
    found = export(moving, tmp_path / "export", vector_fields=keys, embeddings=None)

    assert found.identity["embeddings"]["available_dimensions"] == [2, 3]


def test_from_files(moving: ad.AnnData, tmp_path: Path) -> None:
    moving.obsm["velocity_umap"] = sparse.csr_matrix(moving.obsm["velocity_umap"])
    options = SETTINGS | {"vector_fields": ["velocity_umap", "velocity_umap_3d"]}
    sources = {
        "memory": moving,
        "h5ad": write_h5ad(moving, tmp_path / "cells.h5ad"),
        "zarr": write_zarr(moving, tmp_path / "cells.zarr"),
    }
    trees = []
    for name, source in sources.items():
        export(source, tmp_path / name, **options)
        trees.append(tree_bytes(tmp_path / name))

    assert trees[0] == trees[1] == trees[2]
    assert "vectors/velocity_umap_3d.bin.gz" in trees[0]


def test_the_plan_counts_them(moving: ad.AnnData, tmp_path: Path) -> None:
    options = {"vector_fields": ["velocity_umap"], "embeddings": ["X_umap"]}
    with_field = cellucid_dask.plan(moving, **options)
    without = cellucid_dask.plan(moving, embeddings=["X_umap"])

    assert with_field.n_objects == without.n_objects + 1
    found = export(moving, tmp_path / "export", **options)
    assert len(found.promised_files()) == with_field.n_objects + 3  # the documents


def test_force_takes_older_fields_away(moving: ad.AnnData, tmp_path: Path) -> None:
    export(moving, tmp_path / "export", vector_fields=["velocity_umap"])
    found = export(moving, tmp_path / "export", force=True)

    assert "vector_fields" not in found.identity


# Refusals


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (["velocity_tsne"], "'velocity_tsne'; it has .*velocity_umap \\(2 columns\\)"),
        ("velocity_umap", "list"),
        (["velocity_umap", "velocity_umap"], "more than once"),
        (["X_pca"], "'X_pca' has 6 columns"),
        ({"fast_3d": "velocity_umap"}, "'fast_3d' has 2 columns, but its name says 3D"),
        ({"../up": "velocity_umap"}, "call it 'up'"),
        ({"RNA velocity": "velocity_umap"}, "call it 'RNA_velocity'"),
    ],
)
def test_refused(moving: ad.AnnData, tmp_path: Path, asked: Any, match: str) -> None:
    with pytest.raises(RequestError, match=match):
        export(moving, tmp_path / "export", vector_fields=asked)

    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite(moving: ad.AnnData, tmp_path: Path, value: float) -> None:
    moving.obsm["velocity_umap"][[3, 7], 1] = value

    with pytest.raises(RequestError, match=r"'velocity_umap' .* 2 cells \(rows 3, 7\)"):
        export(moving, tmp_path / "export", vector_fields=["velocity_umap"])

    assert not (tmp_path / "export").exists()


def test_by_the_command_line(moving: ad.AnnData, tmp_path: Path) -> None:
    source = write_h5ad(moving, tmp_path / "cells.h5ad")

    def command(*fields: str) -> subprocess.CompletedProcess[str]:
        given = [word for field in fields for word in ("--vector-field", field)]
        return run_command("export", source, tmp_path / "export", *given)

    refused = command("velocity_tsne")
    assert refused.returncode == 2
    assert "velocity_umap" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = command("velocity_umap", "velocity_umap_3d")
    assert done.returncode == 0, done.stderr
    described = check(tmp_path / "export").identity["vector_fields"]["fields"]
    assert described["velocity_umap"]["available_dimensions"] == [2, 3]
