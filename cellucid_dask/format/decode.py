"""The bytes of a file -> its values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from cellucid_dask.encode.quantize import CODE_DTYPE, MAX_CODE, MISSING_CODE
from cellucid_dask.types import Array

VALUE_DTYPE: dict[int | None, str] = {None: "<f4", 8: CODE_DTYPE[8], 16: CODE_DTYPE[16]}

_GZIP = 31  # window bits of a deflate stream with gzip's header and trailer
_FRAMING = 1024  # more than header and trailer of a gzip member take


class DamageError(ValueError):
    """Something in an export is not as it must be; the text goes on from the file's name."""


def most_bytes(nbytes: int, compressed: bool) -> int:
    """Return the size that a file of `nbytes` bytes of values cannot exceed."""
    return nbytes + nbytes // 1000 + _FRAMING if compressed else nbytes


class Stream:
    """What a file holds, inflated as it is asked for.

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
        self._gzip = isal_zlib.decompressobj(_GZIP) if compressed else None

    def read(self, nbytes: int) -> bytes:
        """Return the next `nbytes` bytes; fewer at the end.

        Raises
        ------
        DamageError
            They cannot be inflated.
        """
        if self._gzip is None:
            self._at += nbytes
            return self._data[self._at - nbytes : self._at]
        pieces = []
        while nbytes and not self._gzip.eof:
            more = self._gzip.unconsumed_tail
            if not more:
                more = self._data[self._at : self._at + self._READ]
                self._at += len(more)
            try:
                piece = self._gzip.decompress(more, nbytes)
            except isal_zlib.IsalError as error:  # type: ignore[misc]
                raise DamageError(f"cannot be decompressed ({error})") from error
            if not piece and not more:
                break
            pieces.append(piece)
            nbytes -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Check that nothing is left.

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
    """Return what a file holds, which must be `nbytes` long; no more are ever inflated.

    Raises
    ------
    DamageError
        It is cut short, damaged, too long, or more than one gzip member.
    """
    stream = Stream(data, compressed)
    plain = stream.read(nbytes)
    stream.finish()
    if len(plain) < nbytes:
        raise DamageError(f"holds {len(plain):,} bytes of values, not {nbytes:,}")
    return plain


def dequantize(codes: Array, limits: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return the values of codes; NaN where a value is missing.

    Parameters
    ----------
    codes
        uint8 or uint16.
    limits
        Smallest and largest value.
    """
    return exact_values(codes, limits).astype("<f4")


def exact_values(codes: Array, limits: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return the values of codes before they are rounded to float32."""
    bits = 8 * codes.itemsize
    low, high = limits
    values = low + codes.astype(np.float64) * (high - low) / MAX_CODE[bits]
    values[codes == MISSING_CODE[bits]] = np.nan
    return values
