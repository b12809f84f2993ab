"""Links of HDF5 files, and data sets whose values lie in other files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from cellucid_dask.errors import RequestError
from cellucid_dask.source.claims import (
    ANY_RATIO,
    DEFLATE_RATIO,
    MAX_ATTRIBUTES,
    check_chunks,
    check_stored,
)
from cellucid_dask.source.filters import check_filters
from cellucid_dask.source.hdf5_heaps import has_large_texts
from cellucid_dask.source.links import Reach
from cellucid_dask.source.reading import UnreadableError

_MAX_LINKS = 16  # that lead to one another


@dataclass(frozen=True)
class Hdf5Links:
    """The links in an HDF5 file, and the data sets that have their values in other files."""

    reach: Reach
    _small: set[Any] = field(default_factory=set)  # whose attributes were found to be

    def below(self, _: str) -> Hdf5Links:
        """Return the same for the group at a path."""
        return self

    def find(self, group: h5py.Group, path: str) -> bool:
        """Check the links on the way to an element; whether it is there."""
        element = self._follow(group, path)
        if element is not None:
            self._check_attributes(element, f"{path} of {self.reach.name}")
        return element is not None

    def check(self, group: h5py.Group, path: str) -> None:
        """Check all links below an element, and its data sets.

        Raises
        ------
        RequestError
            Values lie in another file that is not there or may not be read.
        UnreadableError
            They are compressed in a way that cannot be read.
        """
        self._check_below(self._follow(group, path), set())

    def check_open(self, element: Any) -> None:
        """Check an element that someone else has opened."""
        if self.reach.folder is not None:
            self.reach.check(_path_of(element), file_of(element))
        self._check_below(element, set())

    def others(self, group: h5py.Group) -> set[str]:
        """Return the other files that the links and data sets of the whole file name."""
        found: list[Path] = []

        def note(name: str, link: Any) -> None:
            if isinstance(link, h5py.ExternalLink):
                found.extend(_candidates(group, link.filename))
            elif isinstance(link, h5py.HardLink):
                with suppress(KeyError, OSError, RuntimeError):  # it may not be needed
                    found.extend(_other_files(group[name]))

        if self.reach.folder is not None:
            group.visititems_links(note)
        return {os.path.realpath(file) for file in found if file.is_file()}

    def _follow(self, group: h5py.Group, path: str, n_links: int = 0) -> Any:
        """Return the object at a path; ``None`` if there is none."""
        if n_links > _MAX_LINKS:
            raise RequestError(f"{path} of {self.reach.name} is a link that leads to itself.")
        here: Any = group
        for part in filter(None, path.split("/")):
            link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
            if link is None:
                return None
            if isinstance(link, h5py.ExternalLink):
                here = self._open_external(here, part, link)
            elif isinstance(link, h5py.SoftLink):
                root = here.file if link.path.startswith("/") else here
                here = self._follow(root, link.path, n_links + 1)
                if here is None:
                    raise RequestError(
                        f"{path} of {self.reach.name} is a link to {link.path}, which is not there."
                    )
            else:
                here = here[part]
        return here

    def _open_external(self, group: h5py.Group, part: str, link: h5py.ExternalLink) -> Any:
        what = _path_of(group, part)
        file = self._locate(what, group, link.filename)
        try:
            element = group[part]
        except (KeyError, OSError) as error:
            raise RequestError(
                f"{what} of {self.reach.name} is a link to {link.path} in {file}, which cannot be "
                "read there: put it there, or write the data into one file."
            ) from error
        self.reach.check(what, file_of(element))  # HDF5 looks in other folders too
        return element

    def _locate(self, what: str, near: Any, name: str) -> Path:
        """Find a file as HDF5 does: by its path, else beside the file that names it."""
        candidates = _candidates(near, name)
        return self.reach.check(
            what, next((each for each in candidates if each.exists()), candidates[0])
        )

    def _check_attributes(self, element: Any, what: str) -> None:
        """Check that attributes, which are read whole, are small; large ones have a heap."""
        info = h5py.h5o.get_info(element.id)
        if (info.fileno, info.addr) in self._small:
            return
        is_large = info.meta_size.attr.heap_size > MAX_ATTRIBUTES
        if is_large or has_large_texts(file_of(element), element.name):
            raise UnreadableError(f"{what} is damaged: its attributes are too large.")
        self._small.add((info.fileno, info.addr))

    def _check_below(self, element: Any, seen: set[Any]) -> None:
        if hasattr(element, "id"):
            self._check_attributes(element, f"{_path_of(element)} of {self.reach.name}")
        if isinstance(element, h5py.Dataset):
            self._check_dataset(element, seen)
        elif isinstance(element, h5py.Group):
            info = h5py.h5o.get_info(element.id)
            if (info.fileno, info.addr) in seen:
                return
            seen.add((info.fileno, info.addr))
            for name in element:
                child = self._follow(element, name)
                self._check_below(child, seen)

    def _check_dataset(self, dataset: h5py.Dataset, seen: set[Any]) -> None:
        what = _path_of(dataset)
        check_filters(dataset, f"{what} of {self.reach.name}")
        _check_size(dataset, f"{what} of {self.reach.name}")
        if dataset.external:
            self._check_raw(dataset, what)
        for source in _virtual_sources(dataset):
            self._check_virtual(dataset, what, source, seen)

    def _check_raw(self, dataset: h5py.Dataset, what: str) -> None:
        """Check a data set whose values lie in a file without a format."""
        if len(dataset.external) > 1:
            raise RequestError(
                f"{what} of {self.reach.name} has its values in several files: write it into one."
            )
        ((name, offset, _),) = dataset.external
        file = self.reach.check(what, raw_file(name))
        if file.stat().st_size < offset + dataset.nbytes:
            raise RequestError(
                f"{what} of {self.reach.name} has its values in {file}, which is too short for "
                "them: copy it again."
            )

    def _check_virtual(self, dataset: h5py.Dataset, what: str, source: Any, seen: set[Any]) -> None:
        """Check a data set that a virtual one is made of; HDF5 makes zeros of what is missing."""
        if "%" in source.file_name + source.dset_name:
            raise RequestError(
                f"{what} of {self.reach.name} is made of files by the pattern "
                f"{source.file_name}: write it into one file."
            )
        if source.file_name == ".":
            self._check_part(dataset.file, what, source, seen)
        else:
            file = self._locate(what, dataset, source.file_name)
            with h5py.File(file, "r") as other:
                self._check_part(other, what, source, seen)

    def _check_part(self, file: h5py.File, what: str, source: Any, seen: set[Any]) -> None:
        element = self._follow(file, source.dset_name)
        if not isinstance(element, h5py.Dataset) or not _holds(element, source):
            raise RequestError(
                f"{what} of {self.reach.name} is made of {source.dset_name} in "
                f"{source.file_name}, which is not there or too short."
            )
        self._check_below(element, seen)


def _check_size(dataset: h5py.Dataset, what: str) -> None:
    shape, itemsize = dataset.shape or (), dataset.dtype.itemsize
    if dataset.chunks:
        check_chunks(what, shape, dataset.chunks, itemsize)
    if not (dataset.external or dataset.is_virtual):
        filters = dataset.id.get_create_plist().get_nfilters()
        ratio = DEFLATE_RATIO if dataset.compression == "gzip" or not filters else ANY_RATIO
        check_stored(what, shape, itemsize, dataset.id.get_storage_size(), ratio)


def file_of(element: Any) -> Path:
    """Return the file that an HDF5 object lies in, which is another one behind a link."""
    name = h5py.h5f.get_name(element.id)
    return Path(os.path.realpath(os.fsdecode(name)))


def raw_file(name: str) -> Path:
    """Return the file without a format that an HDF5 data set names: as from the current folder."""
    return Path.cwd() / name


def _holds(element: h5py.Dataset, source: Any) -> bool:
    """Whether a data set is as large as the part of it that a virtual one is made of."""
    part = source.src_space
    if part.get_select_type() == h5py.h5s.SEL_ALL:
        return bool(source.vspace.get_select_npoints() == element.size)
    try:
        last = part.get_select_bounds()[1]
    except (RuntimeError, ValueError):  # an unlimited part: the virtual one grows with it
        return True
    return len(last) == element.ndim and all(map(int.__lt__, last, element.shape))


def _other_files(element: Any) -> list[Path]:
    if not isinstance(element, h5py.Dataset):
        return []
    files = [raw_file(name) for name, *_ in element.external or ()]
    for source in _virtual_sources(element):
        files += _candidates(element, source.file_name)
    return files


def _virtual_sources(dataset: h5py.Dataset) -> Sequence[Any]:
    sources: Sequence[Any] = dataset.virtual_sources() if dataset.is_virtual else ()
    return sources


def _candidates(near: Any, name: str) -> list[Path]:
    """Return where a file may be that an HDF5 object names: by its path, or beside the object."""
    folder = file_of(near).parent
    return [folder / name, folder / Path(name).name]


def _path_of(element: Any, part: str = "") -> str:
    return f"{element.name}/{part}".strip("/")
