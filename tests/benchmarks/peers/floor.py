"""What no export can do without, and nothing else: `floor.py FILE.h5ad TARGET EXPORT`.

Inflates every chunk of the matrix, and writes files of the sizes that an export of it has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deflate
import h5py


def chunks(source: str) -> Iterator[tuple[int, int]]:
    """Return offset and size of every chunk of values and indices."""
    with h5py.File(source) as file:
        for name in ("data", "indices"):
            dataset = file["X"][name].id
            for number in range(dataset.get_num_chunks()):
                chunk = dataset.get_chunk_info(number)
                yield chunk.byte_offset, chunk.size


def main(source: str, target: str, export: str) -> None:
    folder = Path(target) / "var"
    folder.mkdir(parents=True)
    sizes = [(entry.name, entry.stat().st_size) for entry in os.scandir(Path(export) / "var")]
    content = os.urandom(max(size for _, size in sizes))
    file = os.open(source, os.O_RDONLY)

    def read(chunk: tuple[int, int]) -> None:
        offset, size = chunk
        deflate.zlib_decompress(os.pread(file, size, offset), 2**20)

    def write(written: tuple[str, int]) -> None:
        name, size = written
        (folder / name).write_bytes(memoryview(content)[:size])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(read, chunks(source)))
        list(threads.map(write, sizes))


if __name__ == "__main__":
    main(*sys.argv[1:])
