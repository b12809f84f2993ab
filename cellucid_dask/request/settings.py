"""Every option of an export: type, default, check, and help text for the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

from cellucid_dask.display import first_few
from cellucid_dask.errors import FLAGS, RequestError
from cellucid_dask.request.other_names import hint_for
from cellucid_dask.request.quantities import seconds, size, time_stamp

SECTIONS = ("content", "encoding", "description", "execution")
_CHOICES: dict[str, tuple[tuple[Any, ...], str]] = {
    "normalize": ((None, "log1p-cp10k"), "log1p-cp10k or none"),
    "var_quantization": ((None, 8, 16), "8, 16 or none (float32)"),
    "obs_continuous_quantization": ((None, 8, 16), "8, 16 or none (float32)"),
    "obs_categorical_dtype": (("auto", "uint8", "uint16"), "auto, uint8 or uint16"),
    "compression": ((None, *range(10)), "a gzip level from 1 to 9, or none"),
    "format": (("compact_v1", "cellucid-zarr"), "compact_v1 or cellucid-zarr"),
}
# By the beginning of its annotation, what an option may be beside None.
_TYPES: dict[str, tuple[Any, str]] = {
    "str": (str, "one name"), "Sequence": (Iterable, "a list of names"),
    "int": (Integral, "a whole number"), "float": (Real, "a number"),
}  # fmt: skip


def _option(section: str, text: str, metavar: str = "", *, default: Any = None, **more: Any) -> Any:
    """Declare an option: the command line's parser is made from its metadata.

    `section` and `text` go to the help; `metavar` shows how the value is written. `more` may
    hold ``repeat``, for a list given one by one; ``either``, a word shared by options that exclude
    each other.
    """
    metadata = {"section": section, "text": text, "metavar": metavar, **more}
    if default == {}:  # they may hold secrets
        return field(default_factory=dict, repr=False, metadata=metadata)
    return field(default=default, metadata=metadata)


_what, _how, _about, _run = (partial(_option, section) for section in SECTIONS)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of an export.

    Attributes
    ----------
    layer
        The matrix to export: ``"X"``, ``"raw"`` or the name of a layer.
    normalize
        ``"log1p-cp10k"`` normalizes raw counts: the counts of each cell are scaled to a total of
        10,000 over all genes of the layer, followed by log1p. ``None`` keeps the values.
    gene_identifiers
        The genes to export, in this order. ``None`` exports all genes.
    genes_from
        A boolean var column that selects the genes to export.
    var_gene_id_column
        The var column with the names of the genes, or ``"index"``.
    gene_aliases
        A var column with alternative gene names, which the page also shows and finds. ``None``
        looks for a column of symbols if the names are Ensembl IDs.
    make_genes_unique
        Number duplicate gene names, as ``anndata.AnnData.var_names_make_unique`` does.
    shorten_gene_names
        Shorten gene names that are too long for a file name, and add a hash.
    skip_missing_genes
        Skip genes of `gene_identifiers` that do not exist, with a warning.
    genes_only
        Export only the genes.
    obs_keys
        The obs columns to export, in this order. ``None`` exports all columns except those that
        identify single cells.
    cell_ids
        Export the names of the cells (the index of obs), for use with selections.
    embeddings
        The obsm keys to show, such as ``"X_umap"``, or with columns, such as ``"X_pca:0,1"``.
        ``None`` selects them by name.
    latent
        The obsm key of the space in which outlier quantiles are computed. ``None`` selects one.
    connectivities
        The obsp key of the neighbor graph to export. ``None`` exports no graph.
    vector_fields
        obsm keys of displacements to draw over the embeddings, such as ``velocity_umap``, or
        a mapping of field names to such keys. A suffix such as ``_2d`` gives the dimension of a
        field, and has precedence over the width of its array.
    format
        ``"compact_v1"``, a small file for each gene and column; or ``"cellucid-zarr"``, an
        AnnData in Zarr that lies gene after gene.
    var_quantization, obs_continuous_quantization
        8 or 16 bits, or ``None`` for float32.
    obs_categorical_dtype
        The dtype of category codes: ``"auto"``, ``"uint8"`` or ``"uint16"``.
    compression
        gzip level from 1 to 9, or ``None`` (or 0) for no compression.
    centroid_outlier_quantile
        The fraction of the cells of a category, above 0 and at most 1, from which its centroid
        is computed.
    centroid_min_points
        The minimum number of cells for a centroid.
    dataset_id, dataset_name, dataset_description, source_name, source_url, source_citation
        Description of the data set in ``dataset_identity.json``.
    created_at
        UTC timestamp of the export, ``YYYY-MM-DDTHH:MM:SSZ``. ``None`` uses the current time.
    memory_budget
        Memory limit of all concurrent tasks together, in bytes or as ``"512MiB"``. ``None``
        derives it from the machine or the workers.
    timeout
        How long to wait for Dask without any progress, as ``"10m"`` or in seconds. It limits
        neither the run nor a task: a task that computes may take any time.
    scratch
        Directory or URL for intermediate files. ``None`` uses the temporary directory.
    storage_options, source_storage_options
        fsspec options of the target and the source. They are never logged or stored.
    allow_links
        Follow links in the source that lead outside of its folder.
    force
        Replace an existing export in the target.
    resume
        Continue an interrupted run of the same export. If there is none, start a new run.
    page
        Write the viewer page: ``index.html`` and its files.
    progress
        Show the progress.
    """

    layer: str = _what("X, raw or the name of a layer", "LAYER", default="X")
    normalize: Literal["log1p-cp10k"] | None = _what(
        "normalize raw counts to 10,000 per cell, then log1p", "log1p-cp10k|none"
    )
    gene_identifiers: Sequence[str] | None = _what(
        "genes to export, in this order (default all)", "A,B,C", either="genes"
    )
    genes_from: str | None = _what(
        "boolean var column that selects genes", "COLUMN", either="genes"
    )
    var_gene_id_column: str = _what("var column with the gene names", "COLUMN", default="index")
    gene_aliases: str | None = _what(
        "var column with alternative gene names (default symbols, for Ensembl IDs)", "COLUMN"
    )
    make_genes_unique: bool = _what("number duplicate gene names", default=False)
    shorten_gene_names: bool = _what("shorten names that are too long for files", default=False)
    skip_missing_genes: bool = _what("skip genes that do not exist", default=False)
    genes_only: bool = _what("export only the genes", default=False)
    obs_keys: Sequence[str] | None = _what("obs columns to export (default all)", "A,B")
    cell_ids: bool = _what("export the names of the cells", default=False)
    embeddings: Sequence[str] | None = _what(
        "obsm key of an embedding, or KEY:0,1 for columns of it", "KEY", repeat=True
    )
    latent: str | None = _what("obsm key of the space for outlier quantiles", "KEY")
    connectivities: str | None = _what("obsp key of the neighbor graph (default none)", "KEY|none")
    vector_fields: Sequence[str] | Mapping[str, str] | None = _what(
        "obsm key of a vector field, such as velocity_umap", "KEY", repeat=True
    )
    format: str = _how("what is written", "compact_v1|cellucid-zarr", default="compact_v1")
    var_quantization: Literal[8, 16] | None = _how(
        "bits per value of genes", "8|16|none", default=8
    )
    obs_continuous_quantization: Literal[8, 16] | None = _how(
        "bits per value of numeric columns", "8|16|none", default=8
    )
    obs_categorical_dtype: Literal["auto", "uint8", "uint16"] = _how(
        "dtype of category codes", "auto|uint8|uint16", default="auto"
    )
    compression: int | None = _how("gzip level; 0 for none", "0-9", default=6)
    centroid_outlier_quantile: float = _how(
        "fraction of the cells of a category for its centroid", "Q", default=0.95
    )
    centroid_min_points: int = _how("minimum number of cells for a centroid", "N", default=10)
    dataset_id: str | None = _about("ID of the data set (default from its name)", "TEXT")
    dataset_name: str | None = _about("name of the data set (default from TARGET)", "TEXT")
    dataset_description: str | None = _about("description of the data set", "TEXT")
    source_name: str | None = _about("name of the source of the data", "TEXT")
    source_url: str | None = _about("web page of the source", "TEXT")
    source_citation: str | None = _about("citation of the source", "TEXT")
    created_at: str | None = _about("timestamp, such as 2026-01-31T12:00:00Z (default now)", "TIME")
    memory_budget: int | str | None = _run(
        "memory limit, such as 512MiB (default automatic)", "SIZE"
    )
    timeout: float | str = _run(
        "how long to wait without any progress, such as 90s or 2h", "TIME", default="10m"
    )
    scratch: str | None = _run("folder or URL for intermediate files", "URL")
    storage_options: Mapping[str, Any] = _run("of the target", "K=V", default={}, repeat=True)
    source_storage_options: Mapping[str, Any] = _run(
        "of the source", "K=V", default={}, repeat=True
    )
    allow_links: bool = _run(
        "follow links that lead outside of the folder of SOURCE", default=False
    )
    force: bool = _run("replace an existing export in TARGET", default=False, either="again")
    resume: bool = _run("continue an interrupted run", default=False, either="again")
    page: bool = _run("do not write the viewer page", default=True)
    progress: bool = _run("do not show the progress", default=True)

    def __post_init__(self) -> None:
        """Check every value and bring each to its one form."""
        for option, (allowed, words) in _CHOICES.items():
            value = getattr(self, option)
            if value not in allowed or isinstance(value, bool):
                raise _invalid(option, value, f"choose {words}")
        self._check_types()
        self._set("compression", self.compression or None)
        if not 0 < self.centroid_outlier_quantile <= 1:
            value = self.centroid_outlier_quantile
            raise _invalid("centroid_outlier_quantile", value, "choose a number above 0, at most 1")
        if self.centroid_min_points < 1:
            raise _invalid("centroid_min_points", self.centroid_min_points, "choose 1 or more")
        if self.force and self.resume:
            raise RequestError("Give either --force, to start again, or --resume, to continue.")
        self._check_names()
        if self.memory_budget is not None:
            self._read("memory_budget", size, "a size such as 512MiB or 2GB")
        self._read("timeout", seconds, "a time such as 90s, 10m or 2h")
        self._read("created_at", time_stamp, "UTC time as 2026-01-31T12:00:00Z")

    def _check_types(self) -> None:
        for option in fields(self):
            value, kind = getattr(self, option.name), str(option.type)
            wanted, words = _TYPES.get(kind.partition(" ")[0].partition("[")[0], (object, ""))
            fits = isinstance(value, wanted) or (value is None and "None" in kind)
            if option.metadata["section"] in SECTIONS[:2] and not fits:
                what = type(value).__name__
                raise RequestError(f"{FLAGS[option.name]} is of type {what}: give {words}.")

    def _check_names(self) -> None:
        for option in ("gene_identifiers", "obs_keys", "embeddings", "vector_fields"):
            value, flag = getattr(self, option), FLAGS[option]
            if isinstance(value, str):
                raise RequestError(f"{flag} is one string: pass a list of names.")
            if isinstance(value, Mapping) and option == "vector_fields":
                self._set(option, {str(name): str(key) for name, key in value.items()})
            elif value is not None:
                names = tuple(str(name) for name in value)
                if twice := sorted(name for name, n in Counter(names).items() if n > 1):
                    raise RequestError(f"{flag} names {first_few(twice, 3)} more than once.")
                self._set(option, names)
        if self.gene_identifiers is not None and self.genes_from is not None:
            raise RequestError("Give either a list of genes or a var column of them, not both.")
        if self.gene_identifiers is not None and not self.gene_identifiers:
            raise RequestError("--genes is empty: name at least one gene, or leave it out.")

    @property
    def one_file_each(self) -> bool:
        """Whether each gene and column has files of its name."""
        return self.format == "compact_v1"

    @property
    def budget(self) -> int | None:
        """The memory budget in bytes."""
        return None if self.memory_budget is None else int(self.memory_budget)

    @property
    def patience(self) -> float:
        """The timeout in seconds."""
        return float(self.timeout)

    @property
    def vectors(self) -> Mapping[str, str]:
        """The vector fields: obsm keys by name."""
        given = self.vector_fields or {}
        return given if isinstance(given, Mapping) else {key: key for key in given}

    def _read(self, option: str, parse: Callable[[Any], object], how: str) -> None:
        value = getattr(self, option)
        if (parsed := parse(value)) is None:
            raise _invalid(option, value, f"write {how}")
        self._set(option, parsed)

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


def _invalid(option: str, value: object, advice: str) -> RequestError:
    return RequestError(f"{FLAGS[option]} is {value!r}: {advice}.")
