"""Decompressing chunks of Zarr to no more than their shape takes, whatever their headers say."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterable
from typing import Any

import numcodecs
import numpy as np
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline

_TEXT_BYTES = 2**28  # of a chunk of texts, which its shape does not bound
_FILTERED = 8  # how many times longer filters may make values
_CHECKSUM = 64
_STEP = 2**20


class BoundedPipeline(BatchedCodecPipeline):
    """Zarr's own pipeline, which asks how long a chunk will be before it is decompressed."""

    async def decode_batch(self, chunk_bytes_and_specs: Iterable[Any]) -> Any:
        """Decode chunks.

        Raises
        ------
        ValueError
            One would be longer than its shape says.
        """
        batch = list(chunk_bytes_and_specs)
        for data, spec in batch:
            if data is not None:
                self._check(data, spec)
        return await super().decode_batch(batch)

    def _check(self, data: Any, spec: Any) -> None:
        dtype = spec.dtype.to_native_dtype()
        limit = math.prod(spec.shape) * dtype.itemsize
        compressors = [name for each in self.bytes_bytes_codecs if (name := _name(each))]
        old = getattr(self.array_bytes_codec, "compressor", None)  # of version 2
        filters = list(getattr(self.array_bytes_codec, "filters", None) or ())
        if any(each is not None and each.codec_id == "pickle" for each in (old, *filters)):
            raise ValueError("it is a pickle, which could run anything")
        if old:
            compressors.append(old.codec_id)
        if filters or self.array_array_codecs:
            limit = max(_FILTERED * limit, _STEP)
        if dtype.kind in {"O", "T"}:
            limit = _TEXT_BYTES
        if len(compressors) > 1:
            raise ValueError("a chunk is compressed more than once")
        for name in compressors:
            check_length(name, np.asarray(data.as_array_like()).tobytes(), limit + _CHECKSUM)


register_pipeline(BoundedPipeline)
PIPELINE = f"{BoundedPipeline.__module__}.{BoundedPipeline.__qualname__}"


def _name(codec: Any) -> str:
    """Return what a codec of version 3 is called; nothing of a checksum."""
    name = str(codec.to_dict().get("name", "")).removeprefix("numcodecs.")
    return "" if name in ("crc32c", "crc32", "adler32", "fletcher32") else name


def check_length(codec: str, data: bytes, limit: int) -> None:
    """Check how long compressed data will be.

    Parameters
    ----------
    codec
        Name of the compression; of those that Zarr does not know by itself nothing is checked.
    data
        A chunk.
    limit
        Bytes it may have.

    Raises
    ------
    ValueError
        It would be longer.
    """
    if codec == "blosc":
        length = int.from_bytes(data[4:8], "little")
    elif codec == "lz4":
        length = int.from_bytes(data[:4], "little")
    elif codec == "zstd":
        length = _zstd_length(data, limit)
    elif codec in ("gzip", "zlib"):
        length = _counted(zlib.decompressobj(31 if codec == "gzip" else 15), data, limit)
    elif codec == "bz2":
        length = _counted(bz2.BZ2Decompressor(), data, limit)
    else:
        return
    if length > limit:
        raise ValueError(f"a chunk of at most {limit:,} bytes would have {length:,} or more")


def _zstd_length(data: bytes, limit: int) -> int:
    """Read the length in the header of a frame; where there is none, decompress no more."""
    if len(data) < 5:
        return 0
    flags = data[4]
    single = flags >> 5 & 1
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[flags >> 6]
    if not width:
        numcodecs.Zstd().decode(data, np.empty(limit, np.uint8))  # refuses what is longer
        return 0
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)


def _counted(inflate: Any, data: bytes, limit: int) -> int:
    """Count the bytes that data are inflated to, until they are too many."""
    length, left = 0, data
    while length <= limit and not inflate.eof:
        made = inflate.decompress(left, _STEP)
        length += len(made)
        left = getattr(inflate, "unconsumed_tail", b"")  # of zlib; bz2 keeps it
        if not made and not left:
            break
    return length
