"""What a path or URL holds by its first bytes, and why it cannot be read if it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.store.failures import Failure, failure_of
from cellucid_dask.store.location import Location

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
# where HDF5 looks for its signature: other formats may put some bytes of their own before it
_STARTS = (0, 512, 1024, 2048)


def first_bytes(location: Location) -> bytes | None:
    """Read as much as tells what a file is; ``None`` if it is a folder, or cannot be read.

    Why it cannot, the reading that follows will say: some stores refuse to say whether there is
    an object of the name that a folder has.
    """
    try:
        return location.beginning(_STARTS[-1] + len(HDF5))
    except (FileNotFoundError, IsADirectoryError, KeyError):
        return None
    except Exception as error:  # stores raise errors of their own
        if failure_of(error) in (Failure.DENIED, Failure.MISSING):
            return None
        raise


def has_signature(data: bytes, signature: bytes) -> bool:
    """Whether a file that begins with `data` has the signature of a kind."""
    starts = _STARTS if signature == HDF5 else (0,)
    return any(data.startswith(signature, start) for start in starts)


@contextmanager
def refusing(location: Location) -> Iterator[None]:
    """Turn errors of opening into a `RequestError` that says what is wrong with the file."""
    try:
        yield
    except RequestError:
        raise
    except ExportError as error:
        raise RequestError(str(error)) from error
    except Exception as error:  # stores raise errors of their own
        if "lock file" in str(error) or "already open for write" in str(error):
            raise RequestError(
                f"{location} is being written by another program: end that first, or copy the "
                "file. If none is, set HDF5_USE_FILE_LOCKING=FALSE or run h5clear -s on it."
            ) from error
        failure = failure_of(error)
        if isinstance(error, FileNotFoundError) and failure is Failure.MISSING:
            raise RequestError(what_it_is(location, there=False)) from error
        if failure is Failure.DENIED or (
            failure in (Failure.TRANSIENT, Failure.MISSING) and not location.is_local
        ):
            raise RequestError(location.explain(error, "read")) from error
        if isinstance(error, MemoryError):
            raise
        raise RequestError(what_it_is(location)) from error


def what_it_is(location: Location, *, there: bool = True) -> str:
    """Say of what cannot be opened what it is, if that is known, and the way on.

    Parameters
    ----------
    there
        Whether there is a file, or at least a Zarr group.
    """
    from cellucid_dask.source import ways  # noqa: PLC0415  loads anndata

    if way := ways.way_on(location):
        return way
    if there:
        return (
            f"{location} cannot be read as AnnData: it is not an h5ad file or Zarr store, or it is "
            "truncated."
        )
    if location.is_local:
        return f"{location} contains no AnnData: it has neither an HDF5 file nor a Zarr group."
    return f"{location} does not exist: there is neither a file nor a Zarr group of that name."
