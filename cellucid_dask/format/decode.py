"""Decoding the binary files of an export."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from cellucid_dask.encode.quantize import CODE_DTYPE, MAX_CODE, MISSING_CODE
from cellucid_dask.types import Array

VALUE_DTYPE: dict[int | None, str] = {None: "<f4", 8: CODE_DTYPE[8], 16: CODE_DTYPE[16]}

_GZIP = 31  # window bits of a deflate stream with gzip's header and trailer


class DamageError(ValueError):
    """An export violates its format; the message is a predicate of the file's name."""


class Stream:
    """The content of a file, decompressed on demand.

    Parameters
    ----------
    data
        The file.
    compressed
        Whether it is a gzip member.
    """

    _READ = 2**16

    def __init__(self, data: bytes, compressed: bool) -> None:
        self._data, self._at = data, 0
        self._gzip = zlib_ng.decompressobj(_GZIP) if compressed else None

    def read(self, nbytes: int) -> bytes:
        """Return the next `nbytes` bytes, or fewer at the end.

        Raises
        ------
        DamageError
            The data cannot be decompressed.
        """
        if self._gzip is None:
            self._at += nbytes
            return self._data[self._at - nbytes : self._at]
        chunks = []
        while nbytes and not self._gzip.eof:
            more = self._gzip.unconsumed_tail
            if not more:
                more = self._data[self._at : self._at + self._READ]
                self._at += len(more)
            try:
                chunk = self._gzip.decompress(more, nbytes)
            except zlib_ng.error as error:  # type: ignore[misc]
                raise DamageError(f"cannot be decompressed ({error})") from error
            if not chunk and not more:
                break
            chunks.append(chunk)
            nbytes -= len(chunk)
        return b"".join(chunks)

    def finish(self) -> None:
        """Check that the content ends here.

        Raises
        ------
        DamageError
            The file is cut short, too long, or more than one gzip member.
        """
        if self.read(1):
            raise DamageError("holds more values than there are cells or edges")
        if self._gzip is not None:
            if not self._gzip.eof:
                raise DamageError("is cut short")
            if self._gzip.unused_data or self._at < len(self._data):
                raise DamageError("goes on after its gzip member")


def plain_bytes(data: bytes, nbytes: int, compressed: bool) -> bytes:
    """Return the content of a file. No more than `nbytes` bytes are ever decompressed.

    Parameters
    ----------
    data
        The file.
    nbytes
        Length that the content must have.
    compressed
        Whether the file is a gzip member.

    Raises
    ------
    DamageError
        The file is cut short, damaged, too long, or more than one gzip member.
    """
    stream = Stream(data, compressed)
    plain = stream.read(nbytes)
    stream.finish()
    if len(plain) < nbytes:
        raise DamageError(f"holds {len(plain):,} bytes of values, not {nbytes:,}")
    return plain


def dequantize(codes: Array, value_range: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return the values of codes, not yet rounded to float32.

    Parameters
    ----------
    codes
        uint8 or uint16.
    value_range
        Lowest and highest value.

    Returns
    -------
    ndarray
        float64, in the shape of `codes`; NaN where a value is missing.
    """
    bits = 8 * codes.itemsize
    lowest, highest = value_range
    values = lowest + codes.astype(np.float64) * (highest - lowest) / MAX_CODE[bits]
    values[codes == MISSING_CODE[bits]] = np.nan
    return values
