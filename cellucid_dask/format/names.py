"""Names of the files of an export. Only this module and `layout` spell them out."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256

IDENTITY = "dataset_identity.json"
OBS_MANIFEST = "obs_manifest.json"
ALIASES = "aliases.json"
VAR_MANIFEST = "var_manifest.json"
CONNECTIVITY_MANIFEST = "connectivity_manifest.json"
CHECKSUMS = "checksums.sha256"
CATALOG = "datasets.json"

OBS_DIR = "obs"
VAR_DIR = "var"
CONNECTIVITY_DIR = "connectivity"
VECTORS_DIR = "vectors"

# What every common file system and archive takes as the name of a file, in bytes.
MAX_FILE_NAME = 255
_SHORTENED = 200  # characters that are kept of a key that is too long

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_EXTENSION = {None: "f32", 8: "u8", 16: "u16"}
_CODES_EXTENSION = {"uint8": "u8", "uint16": "u16"}


@lru_cache(2**15)  # every name is asked for several times
def safe_name(key: str) -> str:
    """Return the file name the viewer derives from a manifest key.

    Parameters
    ----------
    key
        Name of a gene, a column of cell metadata or a data set.

    Returns
    -------
    str
        The name, of ASCII letters, digits, ``.``, ``_`` and ``-`` only.
    """
    return _UNSAFE.sub("_", key).strip("._") or "field"


def too_long(paths: Mapping[str, str]) -> list[str]:
    """Return the keys whose files have names that are too long.

    Parameters
    ----------
    paths
        Path of a file by its key.
    """
    return [key for key, path in paths.items() if len(path.rpartition("/")[2]) > MAX_FILE_NAME]


def shortened(key: str) -> str:
    """Return a key that is short enough for a file name: its start and a hash, if it is not.

    Parameters
    ----------
    key
        Name of a gene.
    """
    if len(safe_name(key)) <= _SHORTENED:
        return key
    return f"{key[:_SHORTENED]}-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def collisions(keys: Iterable[str]) -> list[tuple[str, str, str]]:
    """Find keys that would overwrite each other's file.

    Parameters
    ----------
    keys
        Keys of one folder; a key given twice collides with itself.

    Returns
    -------
    list of tuple
        The first key of a name, a later one, and the name they share.
    """
    first: dict[str, str] = {}
    pairs = []
    for key in keys:
        name = safe_name(key)
        if name in first:
            pairs.append((first[name], key, name))
        else:
            first[name] = key
    return pairs


def case_collisions(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Find keys whose files are the same on a case-insensitive disk.

    Parameters
    ----------
    keys
        Keys of one folder.

    Returns
    -------
    list of tuple
        Pairs of keys whose safe names differ by letter case alone.
    """
    first: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    pairs = []
    for key in keys:
        name = safe_name(key)
        if name in seen:
            continue
        seen.add(name)
        earlier, earlier_name = first.setdefault(name.lower(), (key, name))
        if earlier_name != name:
            pairs.append((earlier, key))
    return pairs


def dataset_id(given: str | None, name: str | None, target: str) -> str:
    """Return the id of a data set: the given one, or one made from its name or target.

    Parameters
    ----------
    given
        The requested id, if any.
    name
        Name of the data set, if any.
    target
        Path or URL of the export.

    Returns
    -------
    str
        The id.
    """
    if given:
        return given
    if name:
        return safe_name(name)
    return re.split(r"[/\\]", target.rstrip("/\\"))[-1] or "field"


def extension(bits: int | None) -> str:
    """Return the extension of a vector: ``f32``, ``u8`` or ``u16``.

    Parameters
    ----------
    bits
        8, 16, or None for float32.

    Returns
    -------
    str
        The extension, without a dot.
    """
    return _EXTENSION[bits]


def suffix(compressed: bool) -> str:
    """Return the suffix of every binary file of an export."""
    return ".gz" if compressed else ""


def gene_path(key: str, quantization: int | None, compressed: bool) -> str:
    """Return the path of one gene's vector."""
    return _expand(gene_pattern(quantization, compressed), key)


def gene_pattern(quantization: int | None, compressed: bool) -> str:
    """Return the pattern of the paths of genes, with ``{key}`` for the safe name."""
    return f"{VAR_DIR}/{{key}}.values.{extension(quantization)}{suffix(compressed)}"


def obs_values_path(key: str, bits: int | None, compressed: bool) -> str:
    """Return the path of a continuous column's values."""
    return _expand(obs_values_pattern(bits, compressed), key)


def obs_values_pattern(bits: int | None, compressed: bool) -> str:
    """Return the pattern of the paths of continuous columns, with ``{key}`` for the safe name."""
    return f"{OBS_DIR}/{{key}}.values.{extension(bits)}{suffix(compressed)}"


def obs_codes_path(key: str, dtype: str, compressed: bool) -> str:
    """Return the path of a categorical column's codes, of dtype uint8 or uint16."""
    pattern = obs_codes_pattern(compressed).replace("{ext}", _CODES_EXTENSION[dtype])
    return _expand(pattern, key)


def obs_codes_pattern(compressed: bool) -> str:
    """Return the pattern of the paths of codes, with ``{key}`` and ``{ext}``."""
    return f"{OBS_DIR}/{{key}}.codes.{{ext}}{suffix(compressed)}"


def obs_outliers_path(key: str, bits: int | None, compressed: bool) -> str:
    """Return the path of a categorical column's outlier quantiles."""
    return _expand(obs_outliers_pattern(bits, compressed), key)


def obs_outliers_pattern(bits: int | None, compressed: bool) -> str:
    """Return the pattern of the paths of outlier quantiles, with ``{key}``."""
    return f"{OBS_DIR}/{{key}}.outliers.{extension(bits)}{suffix(compressed)}"


def points_path(dimension: int, compressed: bool) -> str:
    """Return the path of one embedding's points."""
    return f"points_{dimension}d.bin{suffix(compressed)}"


def vectors_path(field: str, dimension: int, compressed: bool) -> str:
    """Return the path of one vector field, whose id must be a safe name."""
    return f"{VECTORS_DIR}/{field}_{dimension}d.bin{suffix(compressed)}"


def edge_sources_path(compressed: bool) -> str:
    """Return the path of the lower cell of every edge."""
    return f"{CONNECTIVITY_DIR}/edges.src.bin{suffix(compressed)}"


def edge_destinations_path(compressed: bool) -> str:
    """Return the path of the higher cell of every edge."""
    return f"{CONNECTIVITY_DIR}/edges.dst.bin{suffix(compressed)}"


def _expand(pattern: str, key: str) -> str:
    return pattern.replace("{key}", safe_name(key))


def cell_ids_path(compressed: bool) -> str:
    """Return the path of the file with the names of the cells."""
    return f"cells.json{'.gz' if compressed else ''}"
