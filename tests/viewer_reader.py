"""Reads an export the way the viewer does, and checks it against the format's rules.

It shares nothing with the package: what it knows of the format, it spells out itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES = {"f32": "<f4", "u8": "<u1", "u16": "<u2"}
EXTENSIONS = {"uint8": "u8", "uint16": "u16", "float32": "f32"}
CODES = {8: ("u8", "uint8"), 16: ("u16", "uint16"), None: ("f32", "float32")}
IDENTITY = "dataset_identity.json"
MANIFESTS = ("obs_manifest.json", "var_manifest.json", "connectivity_manifest.json")
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"  # deflate, no flags, mtime 0


def safe_name(key: str) -> str:
    """Name the file of a manifest key."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", key).strip("._") or "field"


def gunzip(data: bytes) -> bytes:
    """Inflate the one nameless and timeless member that `data` must be."""
    assert data[:8] == GZIP_HEADER, f"gzip header {data[:8].hex()}"
    stream = zlib.decompressobj(31)
    plain = stream.decompress(data)
    assert stream.eof, "the gzip member is cut short"
    assert not stream.unused_data, "there is something after the gzip member"
    return plain


def strict_json(text: str) -> Any:
    """Parse JSON that a browser would parse."""

    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def decode(codes: Array, low: float, high: float) -> Array:
    """Values in float64 of quantized codes, the missing ones as NaN."""
    missing = np.iinfo(codes.dtype).max
    values = low + codes.astype(np.float64) * (high - low) / (missing - 1)
    return np.where(codes == missing, np.nan, values)


@dataclass(frozen=True)
class ReadExport:
    """An export on a local disk."""

    path: Path

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the export, or None when there is none."""
        file = self.path / name
        return strict_json(file.read_text("utf-8")) if file.exists() else None

    @cached_property
    def identity(self) -> dict[str, Any]:
        return self.manifest(IDENTITY) or {}

    @cached_property
    def obs_manifest(self) -> dict[str, Any]:
        return self.manifest("obs_manifest.json") or {}

    @cached_property
    def var_manifest(self) -> dict[str, Any]:
        return self.manifest("var_manifest.json") or {}

    @cached_property
    def n_cells(self) -> int:
        return int((self.obs_manifest or self.var_manifest)["n_points"])

    @cached_property
    def compression(self) -> int | None:
        level: int | None = (self.obs_manifest or self.var_manifest)["compression"]
        return level

    def array(self, file: str, dtype: str, width: int | None = None) -> Array:
        """Read one binary file of `width` (or one) numbers a cell."""
        data = (self.path / file).read_bytes()
        assert file.endswith(".gz") == bool(self.compression), file
        array = np.frombuffer(gunzip(data) if self.compression else data, dtype)
        assert array.size == self.n_cells * (width or 1), f"{file} has {array.size} values"
        return array.reshape(self.n_cells, width) if width else array

    # genes

    @cached_property
    def _gene_fields(self) -> dict[str, list[Any]]:
        return {field[0]: field for field in self.var_manifest.get("fields", [])}

    @property
    def genes(self) -> list[str]:
        return [field[0] for field in self.var_manifest.get("fields", [])]

    def gene_file(self, name: str) -> str:
        pattern: str = self.var_manifest["_varSchema"]["pathPattern"]
        return pattern.replace("{key}", safe_name(self._gene_fields[name][0]))

    def codes(self, name: str) -> Array:
        """Return a gene as stored: codes, or float32 when not quantized."""
        return self.array(self.gene_file(name), DTYPES[self.var_manifest["_varSchema"]["ext"]])

    def gene_range(self, name: str) -> tuple[float, float] | None:
        field = self._gene_fields[name]
        return (field[1], field[2]) if len(field) == 3 else None

    def gene_float64(self, name: str) -> Array:
        """Decode a gene without the last rounding, to float32."""
        limits = self.gene_range(name)
        codes = self.codes(name)
        return codes.astype(np.float64) if limits is None else decode(codes, *limits)

    def gene(self, name: str) -> Array:
        return self.gene_float64(name).astype(np.float32)

    # cells

    @cached_property
    def _categorical(self) -> dict[str, list[Any]]:
        return {field[0]: field for field in self.obs_manifest.get("_categoricalFields", [])}

    @cached_property
    def _continuous(self) -> dict[str, list[Any]]:
        return {field[0]: field for field in self.obs_manifest.get("_continuousFields", [])}

    @cached_property
    def _schemas(self) -> dict[str, Any]:
        schemas: dict[str, Any] = self.obs_manifest["_obsSchemas"]
        return schemas

    def categories(self, key: str) -> list[str]:
        categories: list[str] = self._categorical[key][1]
        return categories

    def obs_codes(self, key: str) -> Array:
        extension = EXTENSIONS[self._categorical[key][2]]
        return self.array(self.codes_file(key), DTYPES[extension])

    def codes_file(self, key: str) -> str:
        pattern: str = self._schemas["categorical"]["codesPathPattern"]
        extension = EXTENSIONS[self._categorical[key][2]]
        return pattern.replace("{key}", safe_name(key)).replace("{ext}", extension)

    def outliers_file(self, key: str) -> str:
        pattern: str = self._schemas["categorical"]["outlierPathPattern"]
        return pattern.replace("{key}", safe_name(key))

    def values_file(self, key: str) -> str:
        pattern: str = self._schemas["continuous"]["pathPattern"]
        return pattern.replace("{key}", safe_name(key))

    def outliers(self, key: str) -> Array:
        """Outlier quantiles in float32 of a categorical field."""
        field = self._categorical[key]
        dtype = DTYPES[self._schemas["categorical"]["outlierExt"]]
        codes = self.array(self.outliers_file(key), dtype)
        return (decode(codes, *field[5:7]) if len(field) == 7 else codes).astype(np.float32)

    def labels(self, key: str) -> Array:
        """Category names of all cells, None where missing."""
        names = np.array([*self.categories(key), None], dtype=object)
        codes = self.obs_codes(key).astype(np.int64)
        return names[np.where(codes == self._categorical[key][3], len(names) - 1, codes)]

    def values(self, key: str) -> Array:
        """Return a continuous field in float32."""
        field = self._continuous[key]
        codes = self.array(self.values_file(key), DTYPES[self._schemas["continuous"]["ext"]])
        return (decode(codes, *field[1:3]) if len(field) == 3 else codes).astype(np.float32)

    @cached_property
    def obs(self) -> dict[str, Array]:
        """All fields: labels of categorical ones, float32 of continuous ones."""
        return {key: self.labels(key) for key in self._categorical} | {
            key: self.values(key) for key in self._continuous
        }

    def points(self, dimension: int) -> Array:
        return self.array(self.identity["embeddings"]["files"][f"{dimension}d"], "<f4", dimension)

    # graph and vectors

    @cached_property
    def connectivity_manifest(self) -> dict[str, Any]:
        return self.manifest("connectivity_manifest.json") or {}

    @cached_property
    def edges(self) -> tuple[Array, Array]:
        """Source and destination cells of the graph."""
        manifest = self.connectivity_manifest

        def read(file: str) -> Array:
            data = (self.path / file).read_bytes()
            plain = gunzip(data) if self.compression else data
            return np.frombuffer(plain, f"<u{manifest['index_bytes']}")

        return read(manifest["sourcesPath"]), read(manifest["destinationsPath"])

    def vector(self, field: str, dimension: int) -> Array:
        files = self.identity["vector_fields"]["fields"][field]["files"]
        return self.array(files[f"{dimension}d"], "<f4", dimension)

    def promised_files(self) -> set[str]:
        """Every file that the identity and the manifests name, and they themselves."""
        identity = self.identity
        files = {name for name in (IDENTITY, *MANIFESTS) if (self.path / name).exists()}
        files.update(identity.get("embeddings", {}).get("files", {}).values())
        for field in identity.get("vector_fields", {}).get("fields", {}).values():
            files.update(field["files"].values())
        files.update(map(self.gene_file, self.genes))
        files.update(map(self.values_file, self._continuous))
        files.update(map(self.codes_file, self._categorical))
        files.update(map(self.outliers_file, self._categorical))
        files.update(identity[key] for key in ("gene_aliases", "cell_ids") if key in identity)
        for key in ("sourcesPath", "destinationsPath"):
            files.update({self.connectivity_manifest[key]} if self.connectivity_manifest else ())
        return files


def read_export(path: str | Path) -> ReadExport:
    """Open the export in a folder."""
    return ReadExport(Path(path))


def _page_files(folder: Path) -> set[str]:
    """Return the files of the page, if there is one: it names the folder of all others."""
    index = folder / "index.html"
    if not index.is_file():
        return set()
    named = set(re.findall(r'"(?:\./)?(_page/\w+)/[^"]+"', index.read_text()))
    assert len(named) == 1, f"one version of the page: {named}"
    (version,) = named
    return {"index.html", *(f"{version}/{file.name}" for file in (folder / version).iterdir())}


def _checksums(folder: Path, promised: set[str]) -> set[str]:
    """Check the checksums, if there are any: of all files but the identity and the page."""
    file = folder / "checksums.sha256"
    if not file.exists():
        return set()
    lines = [line.split("  ", 1) for line in file.read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert set(sums) == promised - {"dataset_identity.json"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    return {file.name}


def check(path: str | Path) -> ReadExport:
    """Check everything that an export says of itself, and return it."""
    export = read_export(path)
    found = {
        file.relative_to(export.path).as_posix()
        for file in export.path.rglob("*")
        if not file.is_dir()
    }
    promised = export.promised_files()
    promised |= _checksums(export.path, promised) | _page_files(export.path)
    assert found == promised, f"missing {promised - found}, orphans {found - promised}"
    _check_json(export)
    if export.var_manifest:
        _check_genes(export)
    if export.obs_manifest:
        _check_identity(export)
        _check_obs(export)
        _check_points(export)
    if export.connectivity_manifest:
        _check_connectivity(export)
    for field, entry in export.identity.get("vector_fields", {}).get("fields", {}).items():
        assert field == safe_name(field)
        for dimension in entry["available_dimensions"]:
            export.vector(field, dimension)
    return export


def assert_gene(export: ReadExport, gene: str, values: Any, quantization: int | None) -> None:
    """Check a gene against its `values` in float32: half a step off at most, range exact."""
    finite = values[np.isfinite(values)].astype(np.float64)
    limits = export.gene_range(gene)
    if quantization is None:
        assert limits is None
        np.testing.assert_array_equal(export.codes(gene), values)
        return
    assert limits is not None
    assert limits == ((finite.min(), finite.max()) if finite.size else (0, 0)), gene
    decoded = export.gene_float64(gene)
    np.testing.assert_array_equal(np.isnan(decoded), ~np.isfinite(values), err_msg=gene)
    half_step = (limits[1] - limits[0]) / (2**quantization - 2) / 2
    error = np.abs(decoded[np.isfinite(values)] - finite).max(initial=0)
    rounding = 4 * np.spacing(np.abs(limits).max())
    assert error <= half_step + rounding, f"{gene}: {error} is more than {half_step}"


def _check_json(export: ReadExport) -> None:
    for file in export.path.glob("*_manifest.json"):
        text = file.read_text("utf-8").rstrip("\n")
        content = strict_json(text)
        compact = (
            json.dumps(content, separators=(",", ":"), ensure_ascii=ascii_only)
            for ascii_only in (True, False)
        )
        assert text in compact, f"{file.name} is not compact"
        assert content.get("_format", content.get("format")) in ("compact_v1", "edge_pairs")
        assert content["compression"] == export.compression, file.name
    if export.identity:
        assert "\n  " in (export.path / IDENTITY).read_text("utf-8")


def _check_quantized(codes: Array, limits: tuple[float, float]) -> None:
    low, high = limits
    assert np.float32(low) == low, f"{low!r} is not a float32"
    assert np.float32(high) == high, f"{high!r} is not a float32"
    missing = np.iinfo(codes.dtype).max
    present = codes[codes != missing]
    if present.size == 0:
        assert (low, high) == (0, 0)
    else:
        assert present.min() == 0
        assert present.max() == (missing - 1 if low < high else 0)


def _check_genes(export: ReadExport) -> None:
    manifest, bits = export.var_manifest, export.var_manifest["quantization"]
    schema = manifest["_varSchema"]
    suffix = ".gz" if export.compression else ""
    extension, dtype = CODES[bits]
    assert (schema["ext"], schema["dtype"]) == (extension, dtype)
    assert schema["kind"] == "continuous"
    assert schema["quantized"] == (bits is not None)
    assert schema.get("quantizationBits") == bits
    assert schema["pathPattern"] == f"var/{{key}}.values.{extension}{suffix}"
    assert manifest["var_gene_id_column"]
    names = [safe_name(gene) for gene in export.genes]
    assert len(set(names)) == len(names)
    for gene in export.genes:
        limits = export.gene_range(gene)
        assert (limits is None) == (bits is None), gene
        codes = export.codes(gene)
        if limits is not None:
            _check_quantized(codes, limits)


def _check_identity(export: ReadExport) -> None:
    identity, obs = export.identity, export.obs_manifest
    assert identity["version"] == 2
    assert identity["id"]
    assert identity["cellucid_data_version"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", identity["created_at"])
    continuous, categorical = export._continuous, export._categorical
    connectivity = export.connectivity_manifest
    assert identity["stats"] == {
        "n_cells": obs["n_points"],
        "n_genes": len(export.genes),
        "n_obs_fields": len(continuous) + len(categorical),
        "n_categorical_fields": len(categorical),
        "n_continuous_fields": len(continuous),
        "has_connectivity": bool(connectivity),
        "n_edges": connectivity.get("n_edges"),
    }
    fields = {field["key"]: field for field in identity["obs_fields"]}
    assert set(fields) == {*continuous, *categorical}
    for key, field in fields.items():
        assert field["kind"] == ("category" if key in categorical else "continuous")
        if key in categorical:
            assert field["n_categories"] == len(export.categories(key))
    settings = identity["export_settings"]
    assert settings["compression"] == export.compression
    if export.var_manifest:
        assert settings["var_quantization"] == export.var_manifest["quantization"]


def _check_points(export: ReadExport) -> None:
    embeddings = export.identity["embeddings"]
    dimensions = embeddings["available_dimensions"]
    assert dimensions
    assert dimensions == sorted(dimensions)
    assert embeddings["default_dimension"] == dimensions[-1]
    assert set(embeddings["files"]) == {f"{dimension}d" for dimension in dimensions}
    for dimension in dimensions:
        points = export.points(dimension)
        assert np.isfinite(points).all()
        assert np.abs(points).max(initial=0) <= 1 + 1e-6


def _check_obs(export: ReadExport) -> None:
    manifest = export.obs_manifest
    assert manifest["latent_key"] == "latent_space"
    dimensions = {str(each) for each in export.identity["embeddings"]["available_dimensions"]}
    for key, field in export._continuous.items():
        if len(field) == 3:
            dtype = DTYPES[export._schemas["continuous"]["ext"]]
            _check_quantized(export.array(export.values_file(key), dtype), (field[1], field[2]))
        export.values(key)
    for key, field in export._categorical.items():
        codes, missing = export.obs_codes(key), field[3]
        assert missing == np.iinfo(codes.dtype).max
        assert (field[2] == "uint8") == (len(field[1]) <= 254) or (
            export.identity["export_settings"]["obs_categorical_dtype"] != "auto"
        )
        assert codes[codes != missing].max(initial=0) <= max(len(field[1]) - 1, 0)
        outliers = export.outliers(key)
        assert np.isnan(outliers[codes == missing]).all()
        assert set(field[4]) <= dimensions
        for dimension, centroids in field[4].items():
            assert {each["category"] for each in centroids} <= set(field[1])
            assert all(len(each["position"]) == int(dimension) for each in centroids)


def _check_connectivity(export: ReadExport) -> None:
    manifest = export.connectivity_manifest
    sources, destinations = export.edges
    assert manifest["n_cells"] == export.n_cells
    assert manifest["index_bytes"] == (2 if export.n_cells <= 65_535 else 4)
    assert manifest["index_dtype"] == f"uint{8 * manifest['index_bytes']}"
    assert sources.size == destinations.size == manifest["n_edges"]
    assert (sources < destinations).all()
    order = sources.astype(np.int64) * export.n_cells + destinations
    assert (np.diff(order) > 0).all()
    degree = np.bincount(np.concatenate([sources, destinations]), minlength=export.n_cells)
    assert manifest["max_neighbors"] == degree.max(initial=0)
