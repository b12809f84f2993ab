"""Decompressing chunks of Zarr to no more than their shape takes, whatever their headers say."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numcodecs
import numpy as np
from zarr.abc.store import RangeByteRequest
from zarr.codecs import VLenBytesCodec, VLenUTF8Codec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import LocalStore

_TEXT_BYTES = 2**28  # of a chunk of texts, which its shape does not bound
_FILTERED = 8  # how many times longer filters may make values
_CHECKSUM = 64
_STEP = 2**20
_INNER = 2**10  # what a chunk in a shard takes beside its values
_TEXTS = (VLenUTF8Codec, VLenBytesCodec)  # of version 3


# Filters that no AnnData is stored by: what they would do.
_REFUSED = {
    "pickle": "it is a pickle, which could run anything",
    "json2": "it is JSON, which can claim any length",
    "msgpack2": "it is MessagePack, which can claim any length",
}


class BoundedPipeline(BatchedCodecPipeline):
    """Zarr's own pipeline, which asks how long a chunk is before it is read and decompressed."""

    async def read_batch(
        self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()
    ) -> Any:
        """Read chunks; return what Zarr does, which depends on its version.

        Raises
        ------
        ValueError
            The file of one is longer than its shape says.
        """
        bounded = [
            (_BoundedFile(file, self._longest_file(spec)), spec, *more)
            for file, spec, *more in batch_info
        ]
        return await super().read_batch(bounded, out, drop_axes)

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

    @property
    def _filters(self) -> list[Any]:
        """Those of version 2."""
        return list(getattr(self.array_bytes_codec, "filters", None) or ())

    def _longest(self, spec: Any) -> int:
        """Return how many bytes a chunk has at most when it is decompressed."""
        dtype = spec.dtype.to_native_dtype()
        if dtype.kind in {"O", "T"}:
            return _TEXT_BYTES
        limit: int = math.prod(spec.shape) * dtype.itemsize
        return max(_FILTERED * limit, _STEP) if self._filters or self.array_array_codecs else limit

    def _longest_file(self, spec: Any) -> int:
        """Return how many bytes the file of a chunk, or of chunks in a shard, has at most."""
        inner = getattr(self.array_bytes_codec, "chunk_shape", None)
        n_inner = math.prod(spec.shape) // max(math.prod(inner), 1) if inner else 0
        longest = self._longest(spec)
        return longest + longest // 8 + _STEP + n_inner * _INNER

    def _check(self, data: Any, spec: Any) -> None:
        compressors = [name for each in self.bytes_bytes_codecs if (name := _name(each))]
        old = getattr(self.array_bytes_codec, "compressor", None)  # of version 2
        for each in (old, *self._filters):
            if each is not None and each.codec_id in _REFUSED:
                raise ValueError(_REFUSED[each.codec_id])
        if old:
            compressors.append(old.codec_id)
        if len(compressors) > 1:
            raise ValueError("a chunk is compressed more than once")
        last = self._filters[-1].codec_id if self._filters else ""
        has_texts = last.startswith("vlen-") or isinstance(self.array_bytes_codec, _TEXTS)
        chunk = np.asarray(data.as_array_like()).tobytes() if compressors or has_texts else b""
        for name in compressors:
            check_length(name, chunk, self._longest(spec) + _CHECKSUM)
        if has_texts:
            check_texts(compressors, chunk)


@dataclass(frozen=True)
class _BoundedFile:
    """The file of a chunk, of which no more is read at once than it may have."""

    file: Any
    limit: int

    async def get(self, prototype: Any, byte_range: Any = None) -> Any:
        """Read it, or a part of it."""
        size = 0
        if isinstance(byte_range, RangeByteRequest):
            size = byte_range.end - byte_range.start
        elif isinstance(store := getattr(self.file, "store", None), LocalStore):
            with suppress(OSError):  # Zarr makes zeros of what is not there
                size = await store.getsize(self.file.path)
        if size > self.limit:
            raise ValueError(f"a chunk of at most {self.limit:,} bytes has {size:,}")
        return await self.file.get(prototype, byte_range)


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


def check_texts(compressors: Sequence[str], data: bytes) -> None:
    """Check that a chunk does not claim more texts than it has bytes for.

    Parameters
    ----------
    compressors
        Names of the compressions of the chunk.
    data
        The chunk: when decompressed, a number of texts, and of each its length and itself.

    Raises
    ------
    ValueError
        It claims more.
    """
    for name in compressors:
        data = bytes(numcodecs.get_codec({"id": name}).decode(data))
    count = int.from_bytes(data[:4], "little")
    if 4 * count > len(data):
        raise ValueError(f"a chunk of {len(data):,} bytes claims {count:,} texts")


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
