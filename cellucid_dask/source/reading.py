"""What the libraries of h5ad and Zarr raise, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.failures import Failure, explain, failure_of, reason


class UnreadableError(RequestError):
    """An element of a source cannot be read; others may be."""


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Turn what a library raises inside the block into a sentence.

    Parameters
    ----------
    what
        What is read: ``"obs/score of a.h5ad"``.

    Raises
    ------
    UnreadableError
        It cannot be read, now or later.
    RequestError
        The disk or store does not let it be read.
    """
    try:
        yield
    except (ExportError, RequestError, MemoryError):
        raise
    except Exception as error:  # the libraries raise errors of any kind
        if failure_of(error) not in (Failure.OTHER, Failure.MISSING):  # of the store
            raise RequestError(explain(error, what, "read")) from error
        raise UnreadableError(
            f"{what} cannot be read ({reason(error)}): it is damaged, or of a kind that "
            "anndata does not know."
        ) from error


@dataclass(frozen=True)
class ZarrArray:
    """A Zarr array, whose codecs raise errors of any kind.

    Attributes
    ----------
    array
        Zarr's.
    what
        What to call it in errors.
    """

    array: Any
    what: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Sizes of the chunks that are read whole."""
        chunks: tuple[int, ...] | None = self.array.chunks
        return chunks

    def __getitem__(self, selection: Any) -> Any:
        """Read a region.

        Raises
        ------
        ExportError
            It is damaged.
        """
        try:
            return self.array[selection]
        except (ExportError, MemoryError, OSError):  # another worker may see the disk
            raise
        except Exception as error:  # codecs raise errors of their own
            rows = selection[0] if isinstance(selection, tuple) else selection
            raise ExportError(
                f"{self.what} is damaged: rows {rows.start or 0:,} to {rows.stop:,} cannot be "
                f"read ({reason(error)}). Copy or create it again."
            ) from error
