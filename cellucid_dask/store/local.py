"""Files on a local disk. Only regular ones are opened: a named pipe would wait for ever."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path

from cellucid_dask.errors import RequestError
from cellucid_dask.store.client import Entry


def regular(path: str, flags: int) -> int:
    """Open a regular file; the ``opener`` of `open`.

    Raises
    ------
    OSError
        It is a folder, a named pipe, a device or a socket.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, _IRREGULAR, path)


def open_below(folder: str, name: str) -> FileIO:
    """Open a regular file to be read: one in a folder, or with an empty name the path itself.

    Raises
    ------
    OSError
        It is none, or a link leads from its path out of the folder.
    """
    path = f"{folder}/{name}" if name else folder
    if name and not is_below(folder, path):
        raise OSError(errno.ELOOP, "it is a link that leads out of the folder", path)
    return FileIO(path, "rb", opener=regular)


def read_below(folder: str, name: str, max_bytes: int) -> bytes | Exception:
    """Read a file as `open_below` opens it; return its content, or the error.

    Nothing is read of a file that has more than `max_bytes`.
    """
    try:
        with open_below(folder, name) as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(size) if size <= max_bytes else _too_large()
    except (OSError, ValueError) as error:  # the latter of a name with NUL
        return error


def within(data: bytes, max_bytes: int) -> bytes | OSError:
    """Return the content of a file, or an error if it has more than `max_bytes`."""
    return data if len(data) <= max_bytes else _too_large()


def _too_large() -> OSError:
    return OSError(errno.EFBIG, "it is larger than any file of its kind")


def is_below(folder: str, path: str) -> bool:
    """Whether a path that begins with a folder's leads to a place in it."""
    real = os.path.realpath(path)
    return real == path or real.startswith(f"{os.path.realpath(folder).rstrip('/')}/")


_IRREGULAR = "it is a named pipe, a device or a socket"


def check_regular(path: str) -> None:
    """Refuse what is neither a file nor a folder, and a path below a file.

    Raises
    ------
    RequestError
        Saying which.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise RequestError(f"{path} lies under a file: choose another location.") from None
    except OSError:  # explained by whoever reads or writes there
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise RequestError(
            f"{path} is neither a file nor a folder, {_IRREGULAR}: choose another location."
        )


def check_folder(path: str) -> None:
    """Refuse a folder that is not one, or that holds anything but files and folders.

    Its own entries and those of its folders are looked at, as deep as an export lies. Links are
    refused too: what is written or removed through one lies elsewhere.

    Raises
    ------
    RequestError
        Naming the first that is neither.
    """
    check_regular(path)
    if not Path(path).exists():
        return
    if not Path(path).is_dir():
        raise RequestError(f"{path} is a file: name a folder.")
    for folder in [
        path,
        *(each.path for each in _entries(path) if each.is_dir(follow_symlinks=False)),
    ]:
        for entry in _entries(folder):
            if entry.is_symlink():
                raise RequestError(
                    f"{entry.path} is a link, and an export writes and removes nothing through "
                    "one: remove it, or name another folder."
                )
            if not (entry.is_file() or entry.is_dir()):
                check_regular(entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # explained by whoever reads or writes there
        return []


def list_folder(path: str, prefix: str = "") -> list[Entry]:
    """List a folder; a link in it is no folder, and as large as what it leads to.

    The paths of its entries are their names after `prefix`.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        It is not there, or no folder.
    """
    with os.scandir(path) as entries:
        return [
            _entry(prefix + each.name, _status(each), is_folder=each.is_dir(follow_symlinks=False))
            for each in entries
        ]


def list_below(path: str) -> list[Entry]:
    """List all files below a folder, of which the paths are relative to it; no link is followed.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        It is not there, or no folder.
    """
    files: list[Entry] = []
    left = list_folder(path)
    while left:
        entry = left.pop()
        if not entry.is_folder:
            files.append(entry)
            continue
        with suppress(OSError):  # it was removed meanwhile, or only its owner may look at it
            left += list_folder(f"{path}/{entry.path}", f"{entry.path}/")
    return files


def info_of(path: str) -> Entry:
    """Return what there is at a path.

    Raises
    ------
    FileNotFoundError
        Nothing.
    """
    status = os.stat(path)  # noqa: PTH116
    return _entry(path, status, is_folder=stat.S_ISDIR(status.st_mode))


def file_names(path: str) -> list[str]:
    """Return the names of the files of a folder, as `list_folder` without looking at each.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        It is not there, or no folder.
    """
    with os.scandir(path) as entries:
        return [each.name for each in entries if not each.is_dir(follow_symlinks=False)]


def _status(found: os.DirEntry[str]) -> os.stat_result:
    try:
        return found.stat()
    except OSError:  # a link that leads nowhere
        return found.stat(follow_symlinks=False)


def _entry(path: str, status: os.stat_result, *, is_folder: bool) -> Entry:
    size = 0 if is_folder else status.st_size
    return Entry(path, size, is_folder, state=(str(status.st_mtime_ns),))


def write_local(path: str, data: bytes | memoryview, *, exclusive: bool = False) -> None:
    """Write a local file.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    FileExistsError
        There is such a file, and `exclusive` forbids to replace it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_EXCL if exclusive else os.O_TRUNC)
    file = regular(path, flags)
    try:
        left = memoryview(data)
        while left:  # a disk that fills up takes a part first, and fails at the next
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
