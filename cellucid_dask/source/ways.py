"""Files that are not AnnData: what they are, and how they become an AnnData.

MuData and SpatialData hold several AnnData, of which ``#name`` chooses one.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cellucid_dask.display import first_few
from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format.names import IDENTITY
from cellucid_dask.source.elements import Elements, encoding_of
from cellucid_dask.store.location import Location

_WRITE = "and write it with adata.write_h5ad"
# The first bytes of files.
_MAGIC = {
    b"\x1f\x8b": "is compressed with gzip: unpack it with gunzip",
    b"BZh": "is compressed with bzip2: unpack it with bunzip2",
    b"\xfd7zXZ": "is compressed with xz: unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it with unzstd",
    b"PK\x03\x04": "is a zip archive: unpack it with unzip",
    b"version https://git-lfs": "is a pointer of Git LFS: fetch the file itself with git lfs pull",
    b"<": "is a web page, perhaps of an error or a login: download the file again",
}
_SUFFIXES = {
    (".rds", ".rdata", ".rda"): "is an R file: write an h5ad with zellkonverter::writeH5AD",
    (".mtx", ".mtx.gz"): f"is only a matrix: read its folder with scanpy.read_10x_mtx {_WRITE}",
    (".csv", ".csv.gz"): f"is a table: read it with anndata.io.read_csv {_WRITE}",
    (".tsv", ".txt", ".tsv.gz", ".txt.gz"): (
        f"is a table: read it with anndata.io.read_text {_WRITE}"
    ),
}


def way_on(location: Location) -> str | None:
    """Say what something is that is neither HDF5 nor Zarr, and the way on; ``None`` if unknown."""
    if location.is_local and Path(location.url).is_dir():
        if Path(location.url, IDENTITY).exists():
            return f"{location} is an export, not AnnData: name the source first, then the target."
        if not any(Path(location.url).glob("matrix.mtx*")):
            return None
        return f"{location} is a Cell Ranger file: read it with scanpy.read_10x_mtx {_WRITE}."
    for suffixes, way in _SUFFIXES.items():
        if location.name.lower().endswith(suffixes):
            return f"{location} {way}."
    with suppress(ExportError), location.explaining("read"):
        first = location.beginning(32).lstrip()
        ways = (way for magic, way in _MAGIC.items() if first.startswith(magic))
        return next((f"{location} {way}." for way in ways), None)
    return None


def part_of(elements: Elements, location: Location, part: str | None) -> str:
    """Return the path of the AnnData in a file; empty where it is the file itself.

    Parameters
    ----------
    elements
        Of the file.
    location
        Of the file, for errors.
    part
        What its name asks for after a ``#``.

    Raises
    ------
    RequestError
        There is no AnnData, or none of this name; it says what there is.
    """
    kind, folder = _container(elements)
    if folder:
        names = elements.names(folder)
        if part in names:
            return f"{folder}/{part}"
        known = first_few([f"{folder}/{name}" for name in names], 20)
        choice = f": choose one, as {location.name}#{names[0]}" if names else ""
        raise RequestError(f"{location} is {kind} of {known or 'no AnnData'}{choice}.")
    if part is not None:
        raise RequestError(
            f"{location} is one data set without parts: remove #{part} after its name."
        )
    return ""


def _container(elements: Elements) -> tuple[str, str]:
    """Return the kind of a file of several AnnData and their folder; empty of other files."""
    is_anndata = "obs" in elements and "var" in elements
    if "mod" in elements and (encoding_of(elements.group) == "MuData" or not is_anndata):
        return "MuData", "mod"
    for folder in ("tables", "table"):
        if folder in elements and not is_anndata:
            return "SpatialData", folder
    return "", ""


def check_anndata(elements: Elements) -> None:
    """Check that a group is an AnnData.

    Raises
    ------
    RequestError
        It is not; what it is, and the way on.
    """
    if "obs" in elements and "var" in elements:
        return
    text = f"{elements.name} is not AnnData: "
    if "row_attrs" in elements and "col_attrs" in elements:
        raise RequestError(f"{text}it is a loom, read it with anndata.io.read_loom {_WRITE}.")
    if any(f"{name}/barcodes" in elements for name in elements.group):
        raise RequestError(
            f"{text}it is a Cell Ranger file, read it with scanpy.read_10x_h5 {_WRITE}."
        )
    if "assays" in elements:
        raise RequestError(
            f"{text}it is a Seurat file, write an h5ad with SeuratDisk::Convert(dest = 'h5ad')."
        )
    raise RequestError(f"{text}it has no obs and var.")
