"""Points and cell metadata, against a naive reading of the format."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellucid_dask.errors import RequestError
from cellucid_dask.fields import obs
from cellucid_dask.fields.categories import encode_categories
from cellucid_dask.fields.groups import Groups
from cellucid_dask.fields.points import normalize

RNG = np.random.default_rng(0)


class Categorical:
    """A categorical column, encoded: the parts of its entry and the values of its files."""

    def __init__(self, column: Any, **changes: Any) -> None:
        options: dict[str, Any] = {
            "points": {},
            "latent": None,
            "dtype": "auto",
            "bits": None,
            "compressed": False,
            "outlier_quantile": 0.95,
            "min_points": 10,
        }
        entry, files = obs.encode_categorical("col", column, **(options | changes))
        key, self.categories, self.codes_dtype, self.missing, by_dimension, *self.range = entry
        assert key == "col"
        self.centroids = {int(dimension): found for dimension, found in by_dimension.items()}
        extension = {"uint8": "u8", "uint16": "u16", "float32": "f32"}
        (codes_path, self.codes), (outliers_path, self.outliers) = files.items()
        assert codes_path == f"obs/col.codes.{extension[self.codes_dtype]}"
        assert outliers_path == f"obs/col.outliers.{extension[self.outliers.dtype.name]}"


def continuous(column: Any, bits: Any) -> Any:
    """Return values and range of a column of numbers."""
    (key, *value_range), files = obs.encode_continuous("col", column, bits, compressed=True)
    assert key == "col"
    extension = {None: "f32", 8: "u8", 16: "u16"}[bits]
    return files[f"obs/col.values.{extension}.gz"], value_range


# points


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i4"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_normalize(dtype: Any, dimension: Any) -> None:
    raw = (RNG.normal(size=(50, dimension)) * [30, 7, 1][:dimension] + 100).astype(dtype)
    points, scale = normalize(raw, "X_umap")
    assert points.dtype == np.dtype("<f4")
    assert points.flags.c_contiguous
    exact = raw.astype(float)
    lo, hi = exact.min(0), exact.max(0)
    assert scale == 2 / (hi - lo).max()
    np.testing.assert_array_equal(points, ((exact - (lo + hi) / 2) * scale).astype("f4"))
    assert abs(points).max() == pytest.approx(1)


def test_normalize_keeps_what_float32_would_lose() -> None:
    points, _ = normalize(np.array([1e8, 1e8 + 1, 1e8 + 2]), "x")
    assert points.tolist() == [[-1], [0], [1]]


def test_normalize_a_single_place() -> None:
    points, scale = normalize(np.full((4, 2), 3.0), "x")
    assert scale == 2.0
    assert not points.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_non_finite_coordinates_are_named(value: Any) -> None:
    raw = np.zeros((20, 2))
    raw[[3, 4, 7, 8, 9, 19], 1] = value
    with pytest.raises(RequestError, match=r"'X_umap'.* 6 cells \(rows 3, 4, 7, 8, 9, \.\.\.\)"):
        normalize(raw, "X_umap")


@pytest.mark.parametrize(
    "raw", [np.zeros((3, 4)), np.zeros((0, 2)), np.zeros((2, 2, 2)), np.array([["a", "b"]])]
)
def test_unusable_embeddings_are_refused(raw: Any) -> None:
    with pytest.raises(RequestError, match="'X_umap'"):
        normalize(raw, "X_umap")


# classification and continuous columns

NUMERIC = {
    "float64": (np.array([1.5, np.nan, -2]), [1.5, np.nan, -2]),
    "float32": (np.array([1.5, np.inf], "f4"), [1.5, np.inf]),
    "big-endian": (np.array([1, 2], ">f8"), [1, 2]),
    "int64": (pd.Series([1, 2]), [1, 2]),
    "uint8": (np.array([1, 255], "u1"), [1, 255]),
    "Int64": (pd.Series([1, None], dtype="Int64"), [1, np.nan]),
    "Float32": (pd.array([1.5, None], dtype="Float32"), [1.5, np.nan]),
    "UInt8": (pd.Series([1, None], dtype="UInt8"), [1, np.nan]),
    "sparse": (pd.Series(pd.arrays.SparseArray([0.0, 2.0])), [0, 2]),
    "too large": (np.array([1e300, 1]), [np.inf, 1]),
    "empty": (np.array([], "f8"), []),
}


@pytest.mark.parametrize("name", NUMERIC)
def test_numbers_are_continuous(name: Any) -> None:
    column, expected = NUMERIC[name]
    assert not obs.is_categorical(column)
    plain, no_range = continuous(column, None)
    assert plain.dtype == np.dtype("<f4")
    assert no_range == []
    np.testing.assert_array_equal(plain, np.array(expected, "f4"))
    finite = plain[np.isfinite(plain)]
    for bits, missing in ((8, 255), (16, 65535)):
        codes, value_range = continuous(column, bits)
        assert codes.dtype == np.dtype(f"u{bits // 8}")
        assert (codes == missing).tolist() == (~np.isfinite(plain)).tolist()
        assert value_range == ([finite.min(), finite.max()] if finite.size else [0, 0])


@pytest.mark.parametrize(
    "column",
    [
        np.array([1j]),
        pd.Series(pd.to_timedelta([1, 2], unit="s")),
        pd.Series(pd.period_range("2020", periods=2, freq="D")),
        pd.array(pd.interval_range(0, 2)),
        np.zeros((2, 2)),
    ],
)
def test_other_columns_are_refused(column: Any) -> None:
    assert not obs.is_categorical(column)
    with pytest.raises(RequestError, match="'col'"):
        continuous(column, 8)


# categories

CATEGORICAL = {
    "bool": (np.array([True, False]), ["False", "True"], [1, 0]),
    "boolean": (pd.Series([True, None, False], dtype="boolean"), ["False", "True"], [1, -1, 0]),
    "object": (pd.Series(["b", None, "a", np.nan, "b"]), ["a", "b"], [1, -1, 0, -1, 1]),
    "string": (pd.Series(["b", None, "a"], dtype="string"), ["a", "b"], [1, -1, 0]),
    "fixed": (np.array(["b", "a"]), ["a", "b"], [1, 0]),
    "bytes": (np.array([b"b", b"a"]), ["a", "b"], [1, 0]),
    "numpy string": (np.array(["b", "a"], np.dtypes.StringDType()), ["a", "b"], [1, 0]),
    "mixed": (
        pd.Series([1, "1", 1.0, True, None, b"y"], dtype=object),
        ["1", "1.0", "True", "y"],
        [0, 0, 1, 2, -1, 3],
    ),
    "nul": (pd.Series(["a\0b", "a", "a\0c"]), ["a", "a\0b", "a\0c"], [1, 0, 2]),
    "all missing": (pd.Series([None, np.nan], dtype=object), [], [-1, -1]),
    "no cells": (pd.Series([], dtype=object), [], []),
    "dates": (
        pd.Series(pd.to_datetime(["2020-02-01", None, "2020-01-01"])),
        ["2020-01-01", "2020-02-01"],
        [1, -1, 0],
    ),
    "times": (
        np.array(["2020-01-02T03:04:05", "NaT"], "M8[s]"),
        ["2020-01-02 03:04:05"],
        [0, -1],
    ),
    "category": (
        pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "unused", "a"])),
        ["b", "unused", "a"],
        [0, -1, 2],
    ),
    "category array": (pd.Categorical(["b", "a"]), ["a", "b"], [1, 0]),
    "category of numbers": (pd.Categorical([10, 9], categories=[10, 9]), ["10", "9"], [0, 1]),
    "category of booleans": (pd.Categorical([True, False]), ["False", "True"], [1, 0]),
    "category of doubles": (
        pd.Categorical.from_codes([0, 1, 2, -1], pd.Index(["1", 1, "x"], dtype=object)),
        ["1", "x"],
        [0, 0, 1, -1],
    ),
}


@pytest.mark.parametrize("dtype", ["auto", "uint8", "uint16"])
@pytest.mark.parametrize("name", CATEGORICAL)
def test_categories(name: Any, dtype: Any) -> None:
    column, categories, codes = CATEGORICAL[name]
    assert obs.is_categorical(column)
    found, found_codes, missing = encode_categories("col", column, dtype)
    assert found == categories
    assert all(type(category) is str for category in found)
    assert found_codes.dtype == np.dtype("u2" if dtype == "uint16" else "u1")
    assert missing == (65535 if dtype == "uint16" else 255)
    assert found_codes.tolist() == [missing if code < 0 else code for code in codes]
    field = Categorical(column, dtype=dtype)
    assert field.codes_dtype == found_codes.dtype.name
    assert np.isnan(field.outliers).all()


@given(st.lists(st.none() | st.text(max_size=3)))
def test_any_strings(strings: Any) -> None:
    categories, codes, _ = encode_categories("col", pd.Series(strings, dtype=object), "auto")
    assert categories == sorted({string for string in strings if string is not None})
    assert [None if code == 255 else categories[code] for code in codes] == strings


def test_width_of_codes() -> None:
    for n, dtype in ((254, "uint8"), (255, "uint16"), (65534, "uint16")):
        column = pd.Series([f"{i:05}" for i in range(n)])
        _, codes, _ = encode_categories("col", column, "auto")
        assert codes.dtype == dtype
        assert codes.tolist() == list(range(n))


@pytest.mark.parametrize(
    ("n", "dtype", "message"),
    [
        (65535, "auto", "'barcode' has 65,535 categories.* 65,534 .*obs_keys"),
        (65535, "uint16", "65,534"),
        (255, "uint8", "'barcode' has 255 categories.* 254 .*obs_categorical_dtype"),
    ],
)
def test_too_many_categories(n: Any, dtype: Any, message: Any) -> None:
    with pytest.raises(RequestError, match=message):
        encode_categories("barcode", pd.Series([str(i) for i in range(n)]), dtype)


# centroids and outlier quantiles


def naive_centroids(
    points: Any, codes: Any, categories: Any, quantile: Any, min_points: Any
) -> Any:
    found = []
    for code, category in enumerate(categories):
        mine = points[codes == code].astype(float)
        if len(mine) < min_points:
            continue
        center = mine.mean(0)
        distances = np.linalg.norm(mine - center, axis=1)
        near = mine[distances <= np.quantile(distances, quantile)]
        if len(near) < min_points:
            near = mine
        found.append((category, near.mean(0), len(near)))
    return found


def naive_outliers(latent: Any, codes: Any, n_categories: Any, min_points: Any) -> Any:
    result = np.full(len(codes), np.nan, "f4")
    for code in range(n_categories):
        cells = np.flatnonzero(codes == code)
        if len(cells) < min_points:
            continue
        mine = latent[cells].astype(float)
        squares = np.zeros(len(cells))
        for column in mine.T:
            squares += (column - column.sum() / len(cells)) ** 2
        ranks = pd.Series(np.sqrt(squares)).rank(method="max")
        result[cells] = ranks / len(cells)
    return result


def example(n: int = 4000, k: int = 20, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, k, n)
    codes[codes == 3] = 4
    codes[:5] = 3
    codes[codes == 7] = -1
    column = pd.Categorical.from_codes(codes, [f"c{i}" for i in range(k)])
    points = {d: rng.normal(size=(n, d)).astype("f4") for d in (1, 2, 3)}
    # Whole numbers: sums are exact in any order, and equal distances are common.
    latent = rng.integers(-3, 4, (n, 4)).astype("f4")
    return column, codes, points, latent


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("min_points", [1, 10, 205])
def test_centroids(quantile: Any, min_points: Any) -> None:
    column, codes, points, latent = example()
    field = Categorical(
        column,
        points=points,
        latent=latent,
        outlier_quantile=quantile,
        min_points=min_points,
    )
    assert list(field.centroids) == [1, 2, 3]
    for dimension, found in field.centroids.items():
        expected = naive_centroids(points[dimension], codes, field.categories, quantile, min_points)
        assert [(c["category"], c["n_points"]) for c in found] == [(c, n) for c, _, n in expected]
        for centroid, (_, position, _) in zip(found, expected, strict=True):
            np.testing.assert_allclose(centroid["position"], position, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
@pytest.mark.parametrize("min_points", [1, 10, 205])
def test_outlier_quantiles(dtype: Any, min_points: Any) -> None:
    column, codes, points, latent = example()
    field = Categorical(column, points=points, latent=latent.astype(dtype), min_points=min_points)
    expected = naive_outliers(latent, codes, len(field.categories), min_points)
    np.testing.assert_array_equal(field.outliers, expected)
    assert field.outliers.dtype == np.dtype("<f4")
    assert field.range == []
    field = Categorical(column, points=points, latent=latent, min_points=min_points, bits=8)
    assert field.range == [np.nanmin(expected), np.nanmax(expected)]


@pytest.mark.parametrize(("bits", "top"), [(8, 254), (16, 65534)])
def test_quantized_outliers(bits: Any, top: Any) -> None:
    column, codes, points, latent = example()
    plain = Categorical(column, points=points, latent=latent).outliers
    field = Categorical(column, points=points, latent=latent, bits=bits)
    assert field.outliers.dtype == np.dtype(f"u{bits // 8}")
    lowest, highest = field.range
    decoded = lowest + field.outliers.astype(float) * (highest - lowest) / top
    missing = np.isnan(plain)
    assert (field.outliers[missing] == top + 1).all()
    np.testing.assert_allclose(decoded[~missing], plain[~missing], atol=0.5 / top)
    assert codes.size == field.outliers.size


def test_without_latent_the_widest_embedding_counts() -> None:
    column, _, points, _ = example()
    alone = Categorical(column, points=points)
    explicit = Categorical(column, points=points, latent=points[3])
    np.testing.assert_array_equal(alone.outliers, explicit.outliers)


def test_blocks_do_not_show() -> None:
    column, _, points, latent = example()
    _, codes, _ = encode_categories("col", column, "auto")
    whole = Groups.of(codes, 20)
    parts = replace(whole, block_rows=97)
    for values in (latent, points[3]):
        sums = whole.sums(values)
        np.testing.assert_allclose(parts.sums(values), sums, rtol=0, atol=1e-9)
        distances = whole.distances(values, sums)
        np.testing.assert_array_equal(parts.distances(values, sums), distances)
    np.testing.assert_array_equal(whole.sums(latent), parts.sums(latent))


def test_a_column_of_missing_values_has_nothing() -> None:
    points = {2: np.zeros((20, 2), "f4")}
    field = Categorical(pd.Series([None] * 20, dtype=object), points=points, bits=8)
    assert field.centroids == {2: []}
    assert (field.codes == 255).all()
    assert (field.outliers == 255).all()
    assert field.range == [0.0, 0.0]


def test_broken_latent_space_is_refused() -> None:
    column, codes, points, latent = example()
    row = int(np.flatnonzero(codes >= 0)[50])
    latent[row, 2] = np.nan
    with pytest.raises(RequestError, match=rf"latent.*row {row}\b"):
        Categorical(column, points=points, latent=latent)
