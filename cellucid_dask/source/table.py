"""Tables in a file: obs, var and entries of obsm, of which only the columns needed are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

import h5py
import numpy as np
import pandas as pd

from cellucid_dask.errors import RequestError
from cellucid_dask.source import legacy
from cellucid_dask.source.claims import check_categories, check_chunks, check_rows
from cellucid_dask.source.elements import Elements, encoding_of
from cellucid_dask.source.filters import check_inflation
from cellucid_dask.source.reading import UnreadableError, explaining
from cellucid_dask.source.text import TextColumn

_ATTRIBUTES = ("encoding-version", "_index", "column-order")
_LONGEST_NAME = 2**16
# What a column consists of that is stored as a group; a store may not be able to list it.
_PARTS = ("codes", "categories", "values", "mask")


class Table(Protocol):
    """A data frame, or what reads one column by column."""

    @property
    def index(self) -> pd.Index[Any]: ...  # noqa: D102
    @property
    def columns(self) -> Any: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, name: Any, /) -> Any: ...


class StoredTable:
    """A table in a file.

    Parameters
    ----------
    elements
        The elements of its file.
    path
        Of the table among them.
    """

    def __init__(self, elements: Elements, path: str) -> None:
        self._elements, self._path = elements, path
        self._element = elements.glance(path)
        with explaining(elements.title(path)):
            given = self._element.attrs
            self._attributes = {key: given[key] for key in _ATTRIBUTES if key in given}
        for key, value in self._attributes.items():
            if _is_text(value) and len(value) > _LONGEST_NAME:  # messages would repeat it
                raise UnreadableError(
                    f"{elements.title(path)} is damaged: its {key} has {len(value):,} characters."
                )

    @property
    def _by_column(self) -> bool:
        """Whether it is stored column by column, as anndata does since 0.7.5."""
        return (
            not legacy.is_table(self._element)
            and str(self._attributes.get("encoding-version")) == "0.2.0"
            and len(self._attributes) == len(_ATTRIBUTES)
        )

    @cached_property
    def _frame(self) -> pd.DataFrame:
        """The whole of a table that is not stored by columns."""
        if legacy.is_table(self._element):
            with explaining(self._elements.title(self._path)):
                uns = self._elements.open("uns") if "uns" in self._elements else {}
                return legacy.read_table(self._element, uns)
        frame = self._elements.read(self._path)
        if not isinstance(frame, pd.DataFrame):
            raise RequestError(
                f"{self._elements.name} is not AnnData: its {self._path} is not a table."
            )
        return frame

    def __len__(self) -> int:
        """Return the number of rows."""
        if legacy.is_table(self._element):
            return int(self._element.shape[0])
        if not self._by_column:
            return len(self._frame)
        names = self._elements.glance(self._index_path)
        with explaining(self._elements.title(self._index_path)):
            return int(names.shape[0])

    @cached_property
    def _index_path(self) -> str:
        path = f"{self._path}/{_plain(self._attributes['_index'])}"
        is_nullable = encoding_of(self._elements.glance(path)).startswith("nullable-")
        # of pandas 3; no name is missing, so that a store may not have the mask, all false
        return f"{path}/values" if is_nullable else path

    @property
    def index(self) -> pd.Index[Any]:
        """The names of the rows."""
        by_column = self._by_column
        names = self._elements.read(self._index_path) if by_column else self._frame.index
        index: pd.Index[Any] = pd.Index(names)
        return index

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        if not self._by_column:
            return list(map(str, self._frame.columns))
        order: Any = self._attributes["column-order"]
        if not isinstance(order, list | tuple | np.ndarray) or not all(map(_is_text, order)):
            raise UnreadableError(
                f"{self._elements.title(self._path)} has a column-order that is no list of names: "
                "write the file again from its origin."
            )
        return list(map(_plain, order))

    def __getitem__(self, name: str) -> pd.Series[Any]:
        """Read a column."""
        if not self._by_column:
            return self._frame[name]
        self._open_column(name)
        values = self._elements.read(f"{self._path}/{name}")
        with explaining(self._elements.title(f"{self._path}/{name}")):
            return pd.Series(values)

    def _open_column(self, name: str) -> Any:
        """Open a column, having checked before it is read that it is as long as the table."""
        path = f"{self._path}/{name}"
        title, column = self._elements.title(path), self._elements.open(path)  # links come first
        of = "genes" if self._path.endswith("var") else "cells"
        with explaining(title):
            is_array = hasattr(column, "shape")
            parts = [column] if is_array else [column[part] for part in _PARTS if part in column]
            for each in parts:
                shape = tuple(getattr(each, "shape", None) or ())
                if shape and each.name.endswith("/categories"):
                    check_categories(title, shape[0], len(self))
                elif shape:
                    check_rows(title, shape[0], len(self), of)
                if shape and getattr(each, "chunks", None):
                    check_chunks(title, shape, each.chunks, each.dtype.itemsize)
                    if isinstance(each, h5py.Dataset):
                        check_inflation(each, title)
        return column

    def column(self, name: str) -> Any:
        """Read a column as an array; text will be read a slice at a time.

        Raises
        ------
        UnreadableError
            It is damaged, or no column.
        """
        if not self._by_column:
            return self._frame[name]
        path = f"{self._path}/{name}"
        title = self._elements.title(path)
        element = self._open_column(name)
        match encoding_of(element):
            case "string-array":
                return TextColumn(title, element)
            case "nullable-string-array":
                return TextColumn(title, element["values"], element["mask"][:])
        values = self._elements.read(path)
        if not getattr(values, "ndim", 0) or not hasattr(values, "dtype"):
            raise UnreadableError(f"{title} contains no values per cell.")
        return values

    def dense(self) -> np.ndarray[Any, Any]:
        """Read all columns as an array."""
        return np.asarray(pd.DataFrame({name: self[name] for name in self.columns}))


def readable_columns(table: Table, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Read columns that nobody asked for, and pass over those that cannot be read."""
    for name in names:
        with suppress(UnreadableError):
            yield name, table[name]


def is_table(element: Any) -> bool:
    """Whether an element of a file is a table."""
    return legacy.is_table(element) or encoding_of(element) == "dataframe"


def _is_text(name: Any) -> bool:
    return isinstance(name, str | bytes)


def _plain(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
