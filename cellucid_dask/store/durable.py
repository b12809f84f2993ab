"""Waiting until what was written is on the disk, so that a power cut takes nothing away."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def flush_file_system(folder: Path) -> None:
    """Wait until all that was written to the file system of a folder is on the disk.

    Once for all files: thousands of small ones would each wait for the disk otherwise.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux has it
    if syncfs is None:
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(handle) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(handle)


def flush_file(path: str) -> None:
    """Wait until the content of a file is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
