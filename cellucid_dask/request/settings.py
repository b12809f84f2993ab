"""Every option of an export: type, default, check, and what the command line says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from cellucid_dask.display import first_few
from cellucid_dask.errors import RequestError
from cellucid_dask.request.other_names import hint_for

SECTIONS = ("what to export", "how to store it", "what to say of it", "how to run")
_CHOICES: dict[str, tuple[tuple[Any, ...], str]] = {
    "normalize": ((None, "log1p-cp10k"), "log1p-cp10k or none"),
    "var_quantization": ((None, 8, 16), "8, 16 or none (float32)"),
    "obs_continuous_quantization": ((None, 8, 16), "8, 16 or none (float32)"),
    "obs_categorical_dtype": (("auto", "uint8", "uint16"), "auto, uint8 or uint16"),
    "compression": ((None, *range(10)), "a gzip level from 1 to 9, or none"),
    "format": (("compact_v1", "cellucid-zarr"), "compact_v1 or cellucid-zarr"),
}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def _option(section: str, text: str, metavar: str = "", *, default: Any = None, **more: Any) -> Any:
    """Declare an option: the command line's parser is made from its metadata.

    `section` and `text` go to the help; `metavar` shows how the value is written. `more` may
    hold ``flag``, if it differs from the name; ``repeat``, for a list given one by one under the
    name in the singular; ``either``, a word shared by options that exclude each other.
    """
    metadata = {"section": section, "text": text, "metavar": metavar, **more}
    if default == {}:  # they may hold secrets
        return field(default_factory=dict, repr=False, metadata=metadata)
    return field(default=default, metadata=metadata)


_what, _how, _about, _run = (partial(_option, section) for section in SECTIONS)


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
    gene_aliases
        The var column of other names of the genes, which the page shows and finds too; ``None``
        finds a column of symbols where the ids are Ensembl's.
    make_genes_unique
        Tell duplicate gene ids apart as ``anndata.AnnData.var_names_make_unique`` does.
    shorten_gene_names
        Cut gene ids that are too long for the name of a file, and tell them apart by a hash.
    skip_missing_genes
        Go on, with a warning, when some of `gene_identifiers` do not exist.
    genes_only
        Write the genes and nothing else.
    obs_keys
        The obs columns to export, in this order; ``None`` for all but those that name cells.
    cell_ids
        Write the names of the cells (the index of obs): the page gives them with a selection.
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
    format
        ``"compact_v1"``, a small file for each gene and column; or ``"cellucid-zarr"``, an
        AnnData in Zarr that lies gene after gene.
    var_quantization, obs_continuous_quantization
        8 or 16 bits, or ``None`` for float32.
    obs_categorical_dtype
        ``"auto"``, ``"uint8"`` or ``"uint16"``.
    compression
        gzip level 1-9; ``None`` (or 0) for none.
    centroid_outlier_quantile, centroid_min_points
        Share of a category's cells, above 0 and at most 1, that its centroid is made of, and
        how many cells a centroid needs.
    dataset_id, dataset_name, dataset_description, source_name, source_url, source_citation
        What ``dataset_identity.json`` says of the data set.
    created_at
        UTC time stamp of the identity, ``YYYY-MM-DDTHH:MM:SSZ``; ``None`` for now.
    memory_budget
        Bytes that all tasks in flight may hold together, ``"512MiB"`` or a number;
        ``None`` follows the machine or the workers.
    scratch
        Directory or URL for intermediate files; ``None`` for the system's.
    storage_options, source_storage_options
        fsspec options of target and source; never logged or stored.
    allow_links
        Follow links in the source that lead out of its folder.
    force
        Replace the export in the target.
    resume
        Go on where an interrupted run of the same export stopped; without one, begin.
    page
        Write the page that shows the export in a browser: ``index.html`` and what it needs.
    progress
        Show how far the work is.
    """

    layer: str = _what("X, raw or a layer", "LAYER", default="X")
    normalize: Literal["log1p-cp10k"] | None = _what(
        "of raw counts: scale each cell's to 10,000 together, then log1p", "log1p-cp10k|none"
    )
    gene_identifiers: Sequence[str] | None = _what(
        "genes, in this order (default all)", "A,B,C", flag="--genes", either="genes"
    )
    genes_from: str | None = _what(
        "boolean var column that marks the genes", "COLUMN", either="genes"
    )
    var_gene_id_column: str = _what("var column that names the genes", "COLUMN", default="index")
    gene_aliases: str | None = _what(
        "var column of other names (default symbols, if the names are Ensembl's)", "COLUMN"
    )
    make_genes_unique: bool = _what("tell duplicate gene names apart", default=False)
    shorten_gene_names: bool = _what("shorten names too long for a file", default=False)
    skip_missing_genes: bool = _what("go on when some of the genes are not there", default=False)
    genes_only: bool = _what("write the genes and nothing else", default=False)
    obs_keys: Sequence[str] | None = _what("obs columns (default all)", "A,B")
    cell_ids: bool = _what("write the names of the cells, for selections", default=False)
    embeddings: Sequence[str] | None = _what(
        "obsm key, or KEY:0,1 for some columns", "KEY", repeat=True
    )
    latent: str | None = _what("obsm key in which outliers are measured", "KEY")
    connectivities: str | None = _what("obsp key of the neighbor graph (default none)", "KEY|none")
    vector_fields: Sequence[str] | Mapping[str, str] | None = _what(
        "obsm key such as velocity_umap", "KEY", repeat=True
    )
    format: str = _how("what is written: compact_v1 or cellucid-zarr", "NAME", default="compact_v1")
    var_quantization: Literal[8, 16] | None = _how(
        "bits of a gene's values", "8|16|none", default=8
    )
    obs_continuous_quantization: Literal[8, 16] | None = _how(
        "bits of a numeric column's values", "8|16|none", default=8
    )
    obs_categorical_dtype: Literal["auto", "uint8", "uint16"] = _how(
        "codes of a category column", "auto|uint8|uint16", default="auto"
    )
    compression: int | None = _how("gzip level; 0 for none", "0-9", default=6)
    centroid_outlier_quantile: float = _how(
        "share of a category's cells its centroid is made of", "Q", default=0.95
    )
    centroid_min_points: int = _how("cells a category needs for a centroid", "N", default=10)
    dataset_id: str | None = _about("its id (default from its name)", "TEXT")
    dataset_name: str | None = _about("its name (default from TARGET)", "TEXT")
    dataset_description: str | None = _about("what it is", "TEXT")
    source_name: str | None = _about("where the data are from", "TEXT")
    source_url: str | None = _about("a page about them", "TEXT")
    source_citation: str | None = _about("how to cite them", "TEXT")
    created_at: str | None = _about("2026-01-31T12:00:00Z (default now)", "TIME")
    memory_budget: int | str | None = _run("such as 512MiB (default by machine)", "SIZE")
    scratch: str | None = _run("folder or URL for intermediate files", "URL")
    storage_options: Mapping[str, Any] = _run("of the target", "K=V", default={}, repeat=True)
    source_storage_options: Mapping[str, Any] = _run(
        "of the source", "K=V", default={}, repeat=True
    )
    allow_links: bool = _run("follow links that lead out of the folder of SOURCE", default=False)
    force: bool = _run("replace the export in TARGET", default=False, either="again")
    resume: bool = _run("go on where a stopped run was", default=False, either="again")
    page: bool = _run("do not write the page that shows the export", default=True)
    progress: bool = _run("do not show how far the work is", default=True)

    def __post_init__(self) -> None:
        """Check every value and bring each to its one form."""
        for option, (allowed, words) in _CHOICES.items():
            value = getattr(self, option)
            if value not in allowed or isinstance(value, bool):
                raise RequestError(f"{option} is {value!r}: choose {words}.")
        if self.compression == 0:
            self._set("compression", None)
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
            self._set("memory_budget", _bytes(self.memory_budget))
        self._set("created_at", _time_stamp(self.created_at))

    def _check_names(self) -> None:
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
                if twice := sorted(name for name, n in Counter(names).items() if n > 1):
                    raise RequestError(f"{option} names {first_few(twice, 3)} more than once.")
                self._set(option, names)
        if self.gene_identifiers is not None and self.genes_from is not None:
            raise RequestError("Give either a list of genes or a var column of them, not both.")
        if self.gene_identifiers is not None and not self.gene_identifiers:
            raise RequestError("gene_identifiers is empty: name at least one gene, or pass none.")

    @property
    def one_file_each(self) -> bool:
        """Whether each gene and column has files of its name."""
        return self.format == "compact_v1"

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
        if unknown := sorted(set(options) - known):
            raise RequestError(f"There is no option {unknown[0]!r}{hint_for(unknown[0], known)}")
        given = {
            key: value if value is not None or "storage_options" not in key else {}
            for key, value in options.items()
        }
        return cls(**given)


# Options that do not change the exported bytes: a run may be resumed with other values.
RUN_OPTIONS = frozenset(
    each.name for each in fields(Settings) if each.metadata["section"] == SECTIONS[-1]
) | {"created_at"}


def _bytes(value: int | str) -> int:
    """Read a size: ``"512MiB"``, ``"2 GB"`` or a number."""
    from dask.utils import parse_bytes  # noqa: PLC0415  slow to import; --help does not need it

    text = str(value).strip()
    try:
        size = parse_bytes(text) if text[:1].isdigit() else 0  # Dask takes "GB" for one of them
    except (ValueError, OverflowError):
        size = 0
    if not size:
        raise RequestError(f"memory_budget is {value!r}: write a size such as 512MiB or 2GB.")
    return size


def _time_stamp(value: str | None) -> str:
    if value is None:
        return datetime.now(UTC).strftime(_TIME)
    try:
        return datetime.strptime(value, _TIME).strftime(_TIME)  # noqa: DTZ007  Z is UTC
    except (TypeError, ValueError):
        raise RequestError(
            f"created_at is {value!r}: write UTC time as 2026-01-31T12:00:00Z."
        ) from None
