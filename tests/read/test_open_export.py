"""open_export gives back what was exported, as read independently of it."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import cellucid_dask
from cellucid_dask.format.decode import DamageError, plain_bytes
from tests.helpers import edit_json, expression, read_source, small_anndata
from tests.viewer_reader import read_export

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


def tolerance(values: Any, bits: int | None) -> float:
    """Return half a quantization step, and the rounding of float32."""
    if bits is None or not values.size:
        return 0
    step = float(np.ptp(values.astype(np.float64))) / (2**bits - 2)
    return step / 2 + float(np.spacing(np.float32(np.abs(values).max())))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ad.AnnData]:
    adata = small_anndata(n_cells=120)
    adata.obsm["X_3"] = np.random.default_rng(0).normal(size=(120, 3))
    target = tmp_path_factory.mktemp("exported") / "export"
    cellucid_dask.export(adata, target, dataset_name="small", progress=False)
    return target, adata


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


@pytest.mark.parametrize(("name", "layer", "options"), REAL)
def test_real_data(
    shared_data: Path, tmp_path: Path, name: str, layer: str, options: dict[str, Any]
) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(shared_data / name, target, layer=layer, progress=False, **options)
    adata = read_source(shared_data / name)
    if options.get("make_genes_unique"):
        adata.var_names_make_unique()

    found = cellucid_dask.open_export(target)

    assert found.n_cells == adata.n_obs
    if adata.X is None:
        assert found.genes == []
        assert found.to_anndata().X is None
    else:
        matrix, genes = expression(adata, layer)
        assert found.genes == genes
        whole = found.to_anndata().X
        whole = whole.toarray() if sparse.issparse(whole) else whole
        assert whole.dtype == np.float32
        bits = options.get("var_quantization", 8)
        for number, gene in enumerate(genes[:40]):
            values = found.gene(gene)
            assert values.dtype == np.float32
            limit = tolerance(matrix[:, number], bits)
            np.testing.assert_allclose(values, matrix[:, number], rtol=0, atol=limit)
            np.testing.assert_array_equal(values, whole[:, number])
        limits = [tolerance(column, bits) for column in matrix.T]
        assert (np.abs(whole.astype(np.float64) - matrix) <= limits).all()
    if options.get("genes_only"):
        assert found.obs.shape == (adata.n_obs, 0)
        return
    independent = read_export(target)
    assert set(found.obs) == set(adata.obs)
    for key, column in adata.obs.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            assert list(found.obs[key].cat.categories) == list(map(str, column.cat.categories))
        if isinstance(found.obs[key].dtype, pd.CategoricalDtype):
            labels = [None if pd.isna(each) else str(each) for each in column]
            assert [None if pd.isna(each) else each for each in found.obs[key]] == labels
        else:
            values = column.to_numpy(np.float32)
            limit = tolerance(values, options.get("obs_continuous_quantization", 8))
            np.testing.assert_allclose(found.obs[key], values, rtol=0, atol=limit)
    for dimension in found.dimensions:
        np.testing.assert_array_equal(found.points(dimension), independent.points(dimension))


def test_missing_values(tmp_path: Path) -> None:
    matrix = np.array([[0, 1, np.nan], [np.inf, 1, np.nan], [2, 1, np.nan]], np.float32)
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["b", None, "b"], ["z", "b"]), "score": [1.0, np.nan, 3.0]},
        index=["x", "y", "z"],
    )
    adata = ad.AnnData(matrix, obs=obs, obsm={"X_umap": np.eye(3, 2)})
    cellucid_dask.export(adata, tmp_path / "e", progress=False)

    found = cellucid_dask.open_export(tmp_path / "e")

    np.testing.assert_array_equal(found.gene("0"), np.float32([0, np.nan, 2]))
    np.testing.assert_array_equal(found.gene("1"), np.float32([1, 1, 1]))
    np.testing.assert_array_equal(found.gene("2"), np.float32([np.nan] * 3))
    assert list(found.obs["kind"].cat.categories) == ["z", "b"]
    assert list(found.obs["kind"].cat.codes) == [1, -1, 1]
    np.testing.assert_array_equal(found.obs["score"], np.float32([1, np.nan, 3]))
    np.testing.assert_array_equal(
        np.asarray(found.to_anndata().X),
        np.float32([[0, 1, np.nan], [np.nan, 1, np.nan], [2, 1, np.nan]]),
    )


def test_anndata_goes_to_a_file_and_back(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    target = tmp_path / "export"
    cellucid_dask.export(exported[1], target, dataset_name="small", progress=False)
    add_graph(target, [(0, 1), (0, 5), (3, 4)], 120)
    found = cellucid_dask.open_export(target)

    adata = found.to_anndata(["gene3", "gene1"])
    adata.write_h5ad(tmp_path / "back.h5ad")
    back = ad.read_h5ad(tmp_path / "back.h5ad")

    assert list(back.var_names) == ["gene3", "gene1"]
    assert sparse.issparse(back.X)
    np.testing.assert_array_equal(back.X.toarray()[:, 1], found.gene("gene1"))
    assert set(back.obsm) == {"X_points_2d", "X_points_3d", "velocity_umap_2d"}
    np.testing.assert_array_equal(back.obsm["X_points_3d"], found.points(3))
    expected = np.zeros((120, 120))
    for one, two in [(0, 1), (0, 5), (3, 4)]:
        expected[one, two] = expected[two, one] = 1
    np.testing.assert_array_equal(back.obsp["connectivities"].toarray(), expected)
    assert back.uns["cellucid"]["name"] == "small"
    assert list(back.obs["cell_type"].cat.categories) == ["T cell", "B cell", "monocyte", "unseen"]
    np.testing.assert_array_equal(found.vectors("velocity_umap", 2), found.points(2))
    assert found.vector_fields == {"velocity_umap": [2]}
    # that export is also one to verify
    assert cellucid_dask.verify(target, exported[1]).ok


def test_graph_and_vectors_of_real_data(shared_data: Path, tmp_path: Path) -> None:
    source, target = shared_data / "cellrank_200.h5ad", tmp_path / "export"
    cellucid_dask.export(
        source,
        target,
        connectivities="connectivities",
        embeddings=["X_umap"],
        vector_fields={"shift_umap": "X_umap"},
        progress=False,
    )
    adata, found = read_source(source), cellucid_dask.open_export(target)

    expected = abs(adata.obsp["connectivities"]) > 0
    expected = (expected + expected.T).astype(np.float32)
    expected.setdiag(0)
    graph = found.connectivity()
    assert graph is not None
    np.testing.assert_array_equal(graph.toarray(), expected.toarray())
    scale = np.ptp(found.points(2), axis=0) / np.ptp(adata.obsm["X_umap"], axis=0)
    np.testing.assert_allclose(
        found.vectors("shift_umap", 2), adata.obsm["X_umap"] * scale.max(), atol=1e-5
    )
    assert cellucid_dask.verify(target, source).ok


def test_by_url(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(exported[0]), f"/{tmp_path.name}/e", recursive=True)

    found = cellucid_dask.open_export(f"memory://{tmp_path.name}/e")
    local = cellucid_dask.open_export(exported[0])

    np.testing.assert_array_equal(found.gene("gene2"), local.gene("gene2"))
    pd.testing.assert_frame_equal(found.obs, local.obs)
    np.testing.assert_array_equal(found.points(2), local.points(2))


def test_what_is_not_there_is_a_wrong_request(
    exported: tuple[Path, ad.AnnData], tmp_path: Path
) -> None:
    found = cellucid_dask.open_export(exported[0])
    with pytest.raises(cellucid_dask.RequestError, match="Did you mean gene11"):
        found.gene("Gene11x")
    with pytest.raises(cellucid_dask.RequestError, match="no gene 'xyz'"):
        found.to_anndata(["xyz"])
    with pytest.raises(cellucid_dask.RequestError, match="dimension 1, but of: 2, 3"):
        found.points(1)
    with pytest.raises(cellucid_dask.RequestError, match="vector field"):
        found.vectors("velocity", 2)
    assert found.connectivity() is None
    for nothing in (tmp_path, tmp_path / "nowhere", "memory://nowhere"):
        with pytest.raises(cellucid_dask.RequestError, match="holds no export"):
            cellucid_dask.open_export(nothing)


def test_interrupted_export_is_none(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    for file in ("obs_manifest.json", "var_manifest.json"):
        (tmp_path / file).write_bytes((exported[0] / file).read_bytes())
    with pytest.raises(cellucid_dask.RequestError, match="no whole export"):
        cellucid_dask.open_export(tmp_path)


def copy(exported: tuple[Path, ad.AnnData], to: Path) -> Path:
    for file in exported[0].rglob("*"):
        if file.is_file():
            place = to / file.relative_to(exported[0])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b""]
)
def test_damaged_file_is_named(
    exported: tuple[Path, ad.AnnData], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    target = copy(exported, tmp_path / "e")
    file = target / "var/gene1.values.u8.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(cellucid_dask.ExportError, match=r"var/gene1\.values\.u8\.gz"):
        cellucid_dask.open_export(target).gene("gene1")
    file.unlink()
    with pytest.raises(cellucid_dask.ExportError, match=r"gene1\.values\.u8\.gz is missing"):
        cellucid_dask.open_export(target).gene("gene1")


MALICE: list[tuple[str, Callable[[Any], Any]]] = [
    ("var", lambda m: m["_varSchema"].update(pathPattern="../../{key}.u8.gz")),
    ("var", lambda m: m.update(n_points=10**15)),
    ("var", lambda m: m.update(n_points=10**400)),
    ("var", lambda m: m.update(n_points=-1)),
    ("var", lambda m: m.update(n_points=True)),
    ("var", lambda m: m.update(quantization=[8])),
    ("var", lambda m: m.update(compression="6")),
    ("var", lambda m: m["fields"].append(["gene1", 0, 1])),
    ("var", lambda m: m["fields"].append(["gene/1", 0, 1, 2])),
    ("var", lambda m: m["fields"].append(["new", 1, 0])),
    ("var", lambda m: m["fields"].append(["new", 0, 1e300])),
    ("var", lambda m: m["fields"].append(["new", 0, 10**400])),
    ("var", lambda m: m["fields"].append({"gene": 1})),
    ("var", lambda m: m.update(fields=None)),
    ("obs", lambda m: m["_obsSchemas"]["continuous"].update(pathPattern="/etc/{key}")),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(1, 7)),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(1, ["a", "a"])),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(2, "object")),
    ("obs", lambda m: m["_categoricalFields"][0].__setitem__(3, 3)),
    ("obs", lambda m: m["_categoricalFields"][0].__delitem__(slice(1, None))),
    ("identity", lambda m: m["embeddings"]["files"].update({"2d": "../../../etc/passwd"})),
    ("identity", lambda m: m["embeddings"].update(available_dimensions=[7])),
    ("identity", lambda m: m.update(vector_fields={"fields": {"../x": {}}})),
    ("identity", lambda m: m.update(stats=[])),
]


@pytest.mark.parametrize(("document", "edit"), MALICE)
def test_malicious_documents_are_refused(
    exported: tuple[Path, ad.AnnData],
    tmp_path: Path,
    document: str,
    edit: Callable[[Any], Any],
) -> None:
    target = copy(exported, tmp_path / "e")
    name = "dataset_identity.json" if document == "identity" else f"{document}_manifest.json"
    edit_json(target / name, edit)

    with pytest.raises(cellucid_dask.ExportError):
        cellucid_dask.open_export(target)
    assert not cellucid_dask.verify(target).ok


def test_names_stay_inside(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(12, 2, dtype=np.float32),
        var=pd.DataFrame(index=["../../etc/passwd", "<b>"]),
        obsm={"X_umap": np.eye(12, 2)},
    )
    cellucid_dask.export(adata, tmp_path / "e", progress=False)
    (tmp_path.parent / "etc").mkdir(exist_ok=True)
    np.testing.assert_array_equal(
        cellucid_dask.open_export(tmp_path / "e").gene("../../etc/passwd"), np.eye(12, 2)[:, 0]
    )


def test_many_cells_that_are_not_there(exported: tuple[Path, ad.AnnData], tmp_path: Path) -> None:
    target = copy(exported, tmp_path / "e")
    add_graph(target, [(0, 1)], 120)
    many = 2**36
    edit_json(target / "var_manifest.json", lambda m: m.update(n_points=many))
    edit_json(target / "obs_manifest.json", lambda m: m.update(n_points=many))
    edit_json(target / "dataset_identity.json", lambda m: m["stats"].update(n_cells=many))
    edit_json(
        target / "connectivity_manifest.json", lambda m: m.update(n_cells=many, index_bytes=4)
    )
    found = cellucid_dask.open_export(target)
    for ask in (lambda: found.gene("gene0"), lambda: found.points(2), lambda: found.obs,
                found.connectivity, found.to_anndata):  # fmt: skip
        with pytest.raises(cellucid_dask.ExportError):
            ask()
    assert not cellucid_dask.verify(target).ok


@given(st.binary(max_size=300), st.integers(0, 20), st.binary(max_size=4))
def test_a_member_is_read_whole_or_not_at_all(data: bytes, cut: int, more: bytes) -> None:
    whole = gzip.compress(data, mtime=0)
    assert plain_bytes(whole, len(data), compressed=True) == data
    for wrong, size in (
        (whole[: -cut - 1], len(data)),
        (whole + more + b"x", len(data)),
        (whole + whole, len(data)),
        (whole, len(data) + 1),
        (whole, len(data) - 1) if data else (b"", 0),
    ):
        with pytest.raises(DamageError):
            plain_bytes(wrong, size, compressed=True)


def test_repr_is_escaped(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(12, 2, dtype=np.float32),
        var=pd.DataFrame(index=["<script>alert(1)</script>", "B"]),
        obsm={"X_umap": np.eye(12, 2)},
    )
    result = cellucid_dask.export(
        adata, tmp_path / "<i>e", dataset_name="<img src=x>", progress=False
    )
    plan = cellucid_dask.plan(adata)
    found = cellucid_dask.open_export(tmp_path / "<i>e")
    (tmp_path / "<i>e/<u>.txt").write_text("")
    report = cellucid_dask.verify(tmp_path / "<i>e")

    assert "<script>" in repr(found)
    for each in (result, plan, found, report):
        page = each._repr_html_()
        assert page.startswith("<table>")
        assert not any(tag in page for tag in ("<script>", "<img", "<i>", "<u>"))
    assert "&lt;script&gt;" in found._repr_html_()
    assert "&lt;u&gt;.txt" in report._repr_html_()


@pytest.fixture
def drawing() -> Iterator[None]:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("key", ["cell_type", "score", "gene4"])
def test_plot(exported: tuple[Path, ad.AnnData], key: str, dimension: int) -> None:
    found = cellucid_dask.open_export(exported[0])
    ax = found.plot(key, dimension, s=3)

    ax.figure.canvas.draw()
    drawn = sum(len(each.get_offsets()) for each in ax.collections)
    assert drawn == found.n_cells
    assert ax.get_title() == key
    if key == "cell_type":
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words == ["T cell", "B cell", "monocyte", "unseen"]
    else:
        values = found.obs[key] if key == "score" else found.gene(key)
        assert ax.collections[-1].colorbar.vmax == pytest.approx(np.nanmax(values))


@pytest.mark.usefixtures("drawing")
def test_the_legend_of_many_categories_stays_in_the_figure(tmp_path: Path) -> None:
    adata = ad.AnnData(
        np.eye(80, 3, dtype="f4"),
        obs=pd.DataFrame({"many": pd.Categorical([f"type {number % 40}" for number in range(80)])}),
        obsm={"X_umap": np.eye(80, 2)},
    )
    cellucid_dask.export(adata, tmp_path / "out", progress=False)
    ax = cellucid_dask.open_export(tmp_path / "out").plot("many")

    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert len(legend.get_texts()) == 40
    assert legend.get_window_extent().height < ax.figure.bbox.height


def test_plot_without_matplotlib(
    exported: tuple[Path, ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    found = cellucid_dask.open_export(exported[0])
    with pytest.raises(cellucid_dask.RequestError, match=r"cellucid-dask\[plot\]"):
        found.plot("score")
    with pytest.raises(cellucid_dask.RequestError, match="2 or 3"):
        found.plot("score", 1)
