"""Cell metadata of every kind, from files and from memory."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata.io import write_elem

import cellucid_dask
from cellucid_dask import ExportError, ExportWarning, RequestError
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.format.manifests import to_json
from cellucid_dask.output.compact_v1.fields import export_fields
from cellucid_dask.request.resolve import resolve
from cellucid_dask.request.settings import Settings
from cellucid_dask.source import open_source
from cellucid_dask.store import staging
from tests.helpers import small_anndata, tree_bytes, write_h5ad, write_zarr
from tests.viewer_reader import check


@pytest.fixture
def with_barcodes() -> ad.AnnData:
    n_cells = 1500
    barcodes = [f"AAAC{i}-1" for i in range(n_cells)]
    obs = pd.DataFrame(
        {
            "text": np.array(barcodes, dtype=object),
            "category": pd.Categorical(barcodes),
            "half": [f"group{i % 750}" for i in range(n_cells)],
            "depth": np.arange(n_cells),
        },
        index=barcodes,
    )
    return ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((n_cells, 2))})


@pytest.mark.parametrize("stored", [False, True])
def test_a_value_for_every_cell_is_left_out(
    with_barcodes: ad.AnnData, tmp_path: Path, stored: bool
) -> None:
    source = write_h5ad(with_barcodes, tmp_path / "a.h5ad") if stored else with_barcodes
    with pytest.warns(
        ExportWarning, match="columns text, category have a different value for nearly every"
    ):
        cellucid_dask.export(source, tmp_path / "out")
    assert set(check(tmp_path / "out").obs) == {"half", "depth"}


def test_named_it_is_kept(with_barcodes: ad.AnnData, tmp_path: Path) -> None:
    cellucid_dask.export(with_barcodes, tmp_path / "out", obs_keys=["text"])
    labels = check(tmp_path / "out").labels("text")
    assert labels.tolist() == with_barcodes.obs["text"].tolist()


def test_named_and_too_many_is_refused(tmp_path: Path) -> None:
    obs = pd.DataFrame({"barcode": np.arange(70_000).astype(str)})
    adata = ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((70_000, 2))})
    with pytest.raises(RequestError, match="70,000 categories"):
        cellucid_dask.export(adata, tmp_path / "out", obs_keys=["barcode"])


def test_plan_says_which_embeddings() -> None:
    plan: Any = cellucid_dask.plan(small_anndata())
    assert "2D from X_umap" in str(plan)
    assert plan.to_dict()["embeddings"] == {"2d": "X_umap"}


N = 40
_WORDS = ["a", None, "b", "a", "Zürich"] * 8
COLUMNS: dict[str, Any] = {
    "categories": pd.Categorical(_WORDS, categories=["b", "a", "unused", "Zürich"]),
    "ordered": pd.Categorical(["high", "low"] * 20, categories=["low", "high"], ordered=True),
    "no categories": pd.Categorical([None] * N, categories=pd.Index([], dtype=object)),
    "numbered": pd.Categorical([1.5, 2, None, 10] * 10),
    "flagged": pd.Categorical([True, False, None, True] * 10),
    "dated": pd.Categorical(pd.to_datetime(["2020-02-01", None, "2019-01-01", "2020-02-01"] * 10)),
    "binned": pd.cut(np.arange(N), 3),
    "string": pd.array(_WORDS, dtype="string"),
    "str": pd.Series(_WORDS, dtype="str" if pd.__version__ >= "3" else "object").array,
    "object": np.array(_WORDS, dtype=object),
    "mixed": np.array([1, "1", 1.0, True, None, np.nan, b"1", "x"] * 5, dtype=object),
    "nothing": np.array([None] * N, dtype=object),
    "bool": np.arange(N) % 3 == 0,
    "boolean": pd.array([True, None, False, True] * 10, dtype="boolean"),
    "datetime": pd.to_datetime(["2020-02-01", None, "2019-01-01", "2020-02-01"] * 10),
    "zoned": pd.to_datetime(["2020-02-01 12:00", None] * 20).tz_localize("Europe/Berlin"),
    "int8": np.arange(N, dtype=np.int8) - 20,
    "uint64": np.arange(N, dtype=np.uint64) * 2**40,
    "Int64": pd.array([1, None, 3, -4] * 10, dtype="Int64"),
    "Float32": pd.array([1.5, None, 3, -4] * 10, dtype="Float32"),
    "float16": np.linspace(0, 1, N).astype(np.float16),
    "float64": np.where(np.arange(N) % 4, np.linspace(-1, 1, N), np.nan),
    "all missing": np.full(N, np.nan),
}  # fmt: skip
NUMBERS = {"int8", "uint64", "Int64", "Float32", "float16", "float64", "all missing"}
UNSTORED = {  # by h5ad, in the versions of anndata that are allowed
    "dated", "binned", "mixed", "nothing", "datetime", "zoned", "Float32"
}  # fmt: skip
UNSHOWN: dict[str, Any] = {
    "complex": np.ones(N, complex),
    "timedelta": pd.to_timedelta(np.arange(N), unit="s"),
    "period": pd.period_range("2020", periods=N, freq="D"),
}


def _text(value: Any) -> str | None:
    if value is None or value is pd.NaT or value is pd.NA or value != value:  # noqa: PLR0124
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def _cells(columns: dict[str, Any]) -> ad.AnnData:
    obs = pd.DataFrame(columns, index=[f"cell{i}" for i in range(N)])
    return ad.AnnData(obs=obs, obsm={"X_umap": np.random.default_rng(0).random((N, 2))})


def _assert_same(out: Path, columns: dict[str, Any]) -> None:
    found = check(out)
    assert set(found.obs) == set(columns)
    for key, column in columns.items():
        series: Any = pd.Series(column)
        if key in NUMBERS:
            expected = series.astype("Float64").to_numpy(float, na_value=np.nan).astype("f4")
            np.testing.assert_array_equal(found.values(key), expected, err_msg=key)
            continue
        if key in {"datetime", "dated"}:  # midnights go without their time
            labels = [None if pd.isna(each) else f"{each:%Y-%m-%d}" for each in series]
        else:
            labels = [_text(each) for each in series]
        assert [_text(each) for each in found.labels(key)] == labels, key
        if isinstance(series.dtype, pd.CategoricalDtype) and key != "dated":
            assert found.categories(key) == [str(each) for each in series.cat.categories]
        elif key != "dated":
            assert found.categories(key) == sorted({each for each in labels if each is not None})


def test_every_kind_from_memory(tmp_path: Path) -> None:
    cellucid_dask.export(_cells(COLUMNS), tmp_path / "out", obs_continuous_quantization=None)
    _assert_same(tmp_path / "out", COLUMNS)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("nullable", [False, True])
def test_every_kind_from_files(form: str, nullable: bool, tmp_path: Path) -> None:
    columns = {key: column for key, column in COLUMNS.items() if key not in UNSTORED}
    text = ("string", "str")
    with warnings.catch_warnings(), ad.settings.override(allow_write_nullable_strings=True):
        warnings.simplefilter("ignore")
        path = tmp_path / f"a.{form}"
        getattr(_cells(columns), f"write_{form}")(path)
        # anndata makes categories of text that repeats; others write it as it is
        group: Any = (
            h5py.File(path, "r+")
            if form == "h5ad"
            else zarr.open_group(path, mode="r+", use_consolidated=False)
        )
        for key in text:
            del group[f"obs/{key}"]
            values = pd.array(columns[key], dtype="string[python]")
            write_elem(
                group["obs"], key, values if nullable else values.fillna("").to_numpy(object)
            )
            if not nullable:
                columns[key] = values.fillna("")
        if form == "h5ad":
            group.close()
        else:
            zarr.consolidate_metadata(group.store)
    cellucid_dask.export(path, tmp_path / "out", obs_continuous_quantization=None)
    _assert_same(tmp_path / "out", columns)


def test_unknown_kinds_are_left_out(tmp_path: Path) -> None:
    columns = {"depth": np.arange(N), **UNSHOWN}
    adata = _cells(columns)
    told = "complex .complex128., timedelta .timedelta64.*period .period.D.. are of a kind"
    with pytest.warns(ExportWarning, match=told):
        cellucid_dask.export(adata, tmp_path / "out")
    assert set(check(tmp_path / "out").obs) == {"depth"}


@pytest.mark.parametrize("key", UNSHOWN)
def test_named_and_of_an_unknown_kind_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"{key}.*cannot show"):
        cellucid_dask.export(_cells(UNSHOWN), tmp_path / "out", obs_keys=[key])
    assert not list(tmp_path.iterdir())


def test_text_and_latent_in_blocks_and_from_the_spool(
    tmp_path: Path,
) -> None:  # fmt: skip
    adata = small_anndata()
    adata.obs["name"] = [f"cell {i % 39}" if i else None for i in range(adata.n_obs)]
    adata.obs["alone"] = adata.obs_names  # text that anndata makes no categories of
    paths = [write_zarr(adata, tmp_path / "a.zarr"), write_h5ad(adata, tmp_path / "a.h5ad")]
    chosen: Any = {"embeddings": ["X_umap", "X_pca:4,0,2"], "obs_keys": list(adata.obs)}
    settings = Settings(**chosen, progress=False)
    cellucid_dask.export(adata, tmp_path / "whole", **chosen, progress=False)
    assert check(tmp_path / "whole").labels("alone").tolist() == adata.obs_names.tolist()
    expected = {
        name: data
        for name, data in tree_bytes(tmp_path / "whole").items()
        if name.startswith(("obs/", "points"))
    }
    manifest = json.loads((tmp_path / "whole" / "obs_manifest.json").read_text())
    for path in paths:
        with open_source(path) as opened, staging.Staging(str(tmp_path), max_memory=1) as staged:
            request = resolve(opened, settings)

            def keep(name: str, data: bytes, staged: staging.Staging = staged) -> FileDigest:
                staged.add(name, data)
                return FileDigest.size_of(data)

            fields = export_fields(request, keep, block_rows=7, max_latent_bytes=0)
            assert dict(staged) == expected
        sizes = {name: each.nbytes for name, each in fields.files.items()}
        assert sizes == {name: len(data) for name, data in expected.items()}
        assert json.loads(to_json(fields.continuous)) == manifest["_continuousFields"]
        assert json.loads(to_json(fields.categorical)) == manifest["_categoricalFields"]


def test_result_says_which_embeddings(tmp_path: Path) -> None:
    result = cellucid_dask.export(small_anndata(), tmp_path / "out")
    assert "2D from X_umap" in str(result)
    assert "2D from X_umap" in result._repr_html_()
    assert result.to_dict()["embeddings"] == {"2d": "X_umap"}


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    class Full:
        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    with staging.Staging(str(tmp_path), max_memory=1) as waiting:
        waiting._file.close()
        waiting._file = Full()  # type: ignore[assignment]
        with pytest.raises(ExportError, match=r"No space left on device.*scratch"):
            waiting.add("a", b"a")
