"""Every option of an export, checked once and then never again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

from cellucid_dask.errors import RequestError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
# Options of a run; all others are what an export is made of, but for the time of day.
RUN_OPTIONS = frozenset({
    "memory_budget", "scratch", "force", "resume", "progress", "storage_options",
    "source_storage_options", "created_at",
})  # fmt: skip
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to export and how; the defaults are the manual's safe ones.

    Attributes
    ----------
    layer
        ``"X"``, ``"raw"`` or the name of a layer.
    normalize
        ``"log1p-cp10k"`` for raw counts: each cell's counts, over all genes of the layer, are
        scaled to 10,000 together, then log1p; ``None`` for the values as they are.
    gene_identifiers
        Genes to export, in this order; ``None`` for all.
    genes_from
        A boolean var column that says which genes to export.
    var_gene_id_column
        The var column that names the genes, or ``"index"``.
    var_quantization, obs_continuous_quantization
        8 or 16 bits, or ``None`` for float32.
    compression
        gzip level 1-9; ``None`` (or 0) for none.
    obs_keys
        The obs columns to export, in this order; ``None`` for all but those that name cells.
    embeddings
        obsm keys to show, each ``"X_umap"`` or with columns ``"X_pca:0,1"``;
        ``None`` finds them by name.
    latent
        The obsm key in which outlier quantiles are measured; ``None`` finds one.
    connectivities
        The obsp key of the neighbor graph to export; ``None`` for no graph.
    vector_fields
        obsm keys of displacements to draw over the embeddings, such as ``velocity_umap``, or
        a mapping of field names to them. A name that ends in ``_2d`` says its dimension, and
        wins over one that leaves it to the width of its array.
    obs_categorical_dtype
        ``"auto"``, ``"uint8"`` or ``"uint16"``.
    centroid_outlier_quantile, centroid_min_points
        Which cells a category's centroid leaves out, and how many it needs.
    dataset_id, dataset_name, dataset_description, source_name, source_url, source_citation
        What ``dataset_identity.json`` says of the data set.
    created_at
        UTC time stamp of the identity, ``YYYY-MM-DDTHH:MM:SSZ``; ``None`` for now.
    genes_only
        Write the genes and nothing else.
    make_genes_unique
        Tell duplicate gene ids apart as ``anndata.AnnData.var_names_make_unique`` does.
    skip_missing_genes
        Go on, with a warning, when some of `gene_identifiers` do not exist.
    memory_budget
        Bytes that all tasks in flight may hold together, ``"512MiB"`` or a number;
        ``None`` follows the machine or the workers.
    scratch
        Directory or URL for intermediate files; ``None`` for the system's.
    force
        Replace the export that the target holds.
    resume
        Go on where an interrupted run of the same export stopped; without one, begin.
    progress
        Show how far the work is.
    storage_options, source_storage_options
        fsspec options of target and source; never logged or stored.
    """

    layer: str = "X"
    normalize: Literal["log1p-cp10k"] | None = None
    gene_identifiers: Sequence[str] | None = None
    genes_from: str | None = None
    var_gene_id_column: str = "index"
    var_quantization: Literal[8, 16] | None = 8
    obs_continuous_quantization: Literal[8, 16] | None = 8
    compression: int | None = 6
    obs_keys: Sequence[str] | None = None
    embeddings: Sequence[str] | None = None
    latent: str | None = None
    connectivities: str | None = None
    vector_fields: Sequence[str] | Mapping[str, str] | None = None
    obs_categorical_dtype: Literal["auto", "uint8", "uint16"] = "auto"
    centroid_outlier_quantile: float = 0.95
    centroid_min_points: int = 10
    dataset_id: str | None = None
    dataset_name: str | None = None
    dataset_description: str | None = None
    source_name: str | None = None
    source_url: str | None = None
    source_citation: str | None = None
    created_at: str | None = None
    genes_only: bool = False
    make_genes_unique: bool = False
    skip_missing_genes: bool = False
    memory_budget: int | str | None = None
    scratch: str | None = None
    force: bool = False
    resume: bool = False
    progress: bool = True
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source_storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check every value and bring each to its one form."""
        for option in ("var_quantization", "obs_continuous_quantization"):
            if getattr(self, option) not in (None, 8, 16):
                raise RequestError(
                    f"{option} is {getattr(self, option)!r}: choose 8, 16 or none (float32)."
                )
        if self.compression not in (None, *range(10)) or isinstance(self.compression, bool):
            raise RequestError(
                f"compression is {self.compression!r}: choose a gzip level from 1 to 9, or none."
            )
        if self.compression == 0:
            self._set("compression", None)
        if self.obs_categorical_dtype not in ("auto", "uint8", "uint16"):
            raise RequestError(
                f"obs_categorical_dtype is {self.obs_categorical_dtype!r}: "
                "choose auto, uint8 or uint16."
            )
        if not 0 < self.centroid_outlier_quantile <= 1:
            raise RequestError(
                f"centroid_outlier_quantile is {self.centroid_outlier_quantile!r}: "
                "choose a number above 0, at most 1."
            )
        if self.centroid_min_points < 1:
            raise RequestError(
                f"centroid_min_points is {self.centroid_min_points!r}: choose 1 or more."
            )
        if self.force and self.resume:
            raise RequestError("Give either force, to start anew, or resume, to go on.")
        self._check_names()
        if self.memory_budget is not None:
            self._set("memory_budget", parse_bytes(self.memory_budget, "memory_budget"))
        self._set("created_at", _time_stamp(self.created_at))

    def _check_names(self) -> None:
        if self.normalize not in (None, "log1p-cp10k"):
            raise RequestError(f"normalize is {self.normalize!r}: choose log1p-cp10k or none.")
        if not isinstance(self.connectivities, str | None):
            raise RequestError(
                f"connectivities is a {type(self.connectivities).__name__}: name a matrix of obsp."
            )
        for option in ("gene_identifiers", "obs_keys", "embeddings", "vector_fields"):
            value = getattr(self, option)
            if isinstance(value, str):
                raise RequestError(f"{option} is one string: pass a list of names.")
            if isinstance(value, Mapping) and option == "vector_fields":
                self._set(option, {str(name): str(key) for name, key in value.items()})
            elif value is not None:
                names = tuple(str(name) for name in value)
                twice = sorted({name for name in names if names.count(name) > 1})[:3]
                if twice:
                    raise RequestError(f"{option} names {', '.join(twice)} more than once.")
                self._set(option, names)
        if self.gene_identifiers is not None and self.genes_from is not None:
            raise RequestError("Give either a list of genes or a var column of them, not both.")
        if self.gene_identifiers is not None and not self.gene_identifiers:
            raise RequestError("gene_identifiers is empty: name at least one gene, or pass none.")

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes."""
        return None if self.memory_budget is None else int(self.memory_budget)

    @property
    def vectors(self) -> Mapping[str, str]:
        """The vector fields: obsm keys by name."""
        given = self.vector_fields or {}
        return given if isinstance(given, Mapping) else {key: key for key in given}

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Build settings from keyword arguments, refusing unknown ones."""
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise RequestError(f"There is no option {unknown[0]!r}.")
        given = {
            key: value if value is not None or "storage_options" not in key else {}
            for key, value in options.items()
        }
        return cls(**given)


def parse_bytes(value: int | str, option: str) -> int:
    """Bytes from ``"512MiB"``, ``"2 GB"`` or a number."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?\s*", str(value).lower())
    if match is None:
        raise RequestError(f"{option} is {value!r}: write a size such as 512MiB or 2GB.")
    number, unit = match.groups()
    size = int(float(number) * (_UNITS | _BINARY_UNITS)[unit])
    if size <= 0:
        raise RequestError(f"{option} is {value!r}: it must be more than nothing.")
    return size


def _time_stamp(value: str | None) -> str:
    if value is None:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").strftime(  # noqa: DTZ007  Z is UTC
            "%Y-%m-%dT%H:%M:%SZ"
        )
    except (TypeError, ValueError):
        raise RequestError(
            f"created_at is {value!r}: write UTC time as 2026-01-31T12:00:00Z."
        ) from None
