"""What an array says of its size, held against what there is, before memory is taken."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from cellucid_dask.errors import RequestError
from cellucid_dask.source.reading import UnreadableError

_ALWAYS = 4 * 2**20  # bytes of an array of which nothing need be stored
_LARGE_CHUNK = 16 * 2**20
_MANY_CATEGORIES = 2**21  # of which most are used by no row
DEFLATE_RATIO, ANY_RATIO = 1100, 2**17  # deflate makes at most 1,032 bytes of one
MAX_ATTRIBUTES = 16 * 2**20


def check_shape(what: str, shape: Sequence[int]) -> None:
    """Check that the shape of an array is one that an array can have.

    Raises
    ------
    UnreadableError
        It is not.
    """
    if math.prod(shape) > sys.maxsize or min(shape, default=0) < 0:
        raise UnreadableError(
            f"{what} is damaged: it says that it has {math.prod(shape):,} values. Copy or write it "
            "again from its origin."
        )


def check_stored(what: str, shape: Sequence[int], itemsize: int, stored: int, ratio: int) -> None:
    """Check that an array is not larger than what its stored bytes can be inflated to.

    Raises
    ------
    UnreadableError
        It is.
    """
    nbytes = math.prod(shape) * itemsize
    if nbytes > _ALWAYS + ratio * stored:
        raise UnreadableError(
            f"{what} is damaged: it says that it has {nbytes:,} bytes of values, of which "
            f"{stored:,} are stored. Copy or write it again from its origin."
        )


def check_chunks(what: str, shape: Sequence[int], chunks: Sequence[int], itemsize: int) -> None:
    """Check that the chunks of an array, which are read whole, are not far larger than it is.

    Nor may one value be as large as many.

    Raises
    ------
    UnreadableError
        They are.
    """
    if itemsize > _LARGE_CHUNK:
        raise UnreadableError(
            f"{what} is damaged: it has values of {itemsize:,} bytes each. Write it again from its "
            "origin."
        )
    nbytes = math.prod(chunks) * itemsize
    if nbytes > max(_LARGE_CHUNK, 2 * math.prod(shape) * itemsize):
        raise UnreadableError(
            f"{what} is damaged: it has chunks of {nbytes:,} bytes, more than twice its own size. "
            "Write it again from its origin."
        )


def check_categories(what: str, n_categories: int, n_rows: int) -> None:
    """Check that a column has not far more categories than it has rows.

    Raises
    ------
    UnreadableError
        It has.
    """
    if n_categories > max(_MANY_CATEGORIES, n_rows):
        raise UnreadableError(
            f"{what} is damaged: it says that it has {n_categories:,} categories of {n_rows:,} "
            "rows. Write it again from its origin."
        )


def check_rows(what: str, n_rows: int, expected: int, of: str = "cells") -> None:
    """Check that an array has a row for each cell or gene, before anything is made of it.

    Raises
    ------
    RequestError
        It has not.
    """
    if n_rows != expected:
        raise RequestError(
            f"{what} has {n_rows:,} rows, but there are {expected:,} {of}: the source is damaged, "
            "create it again."
        )
