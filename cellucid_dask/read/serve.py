"""Exports served to a browser on this machine: read only, from any store."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from cellucid_dask.errors import ExportError, RequestError
from cellucid_dask.format import names
from cellucid_dask.format.manifests import to_json
from cellucid_dask.output.cellucid_zarr.arrays import METADATA
from cellucid_dask.page import page_files
from cellucid_dask.read.catalog import describe_root
from cellucid_dask.store.local import is_below
from cellucid_dask.store.location import Location
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import content_type

_CHUNK_BYTES = 8 * 2**20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Server:
    """An export, or the exports below one folder, at an address of this machine.

    Only this machine is answered, and only who knows the address, which holds a secret:
    another user of the machine, or another page in the browser, does not.

    Parameters
    ----------
    target
        The export, or the folder of several.
    port
        Port to listen on; 0 for any that is free.

    Raises
    ------
    RequestError
        There is no export, or the port is taken.
    """

    def __init__(self, target: Target, port: int = 0) -> None:
        self._secret = secrets.token_urlsafe(12)
        files = _Files(target, _documents(target))

        class Handler(_Handler):
            root = f"/{self._secret}/"
            content = files

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise RequestError(
                f"Port {port} cannot be used ({error}): choose another with --port, or 0 "
                "for any that is free."
            ) from error
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    @property
    def path(self) -> str:
        """The path of the page, below the host."""
        return f"/{self._secret}/"

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def run(self) -> None:
        """Answer until the process is interrupted."""
        self._server.serve_forever()

    def start(self) -> Self:
        """Answer in a thread of its own until `close`."""
        Thread(target=self._server.serve_forever, daemon=True, name="view").start()
        return self

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _documents(target: Target) -> dict[str, bytes]:
    """Return what is served although the target need not contain it: the page and a catalog."""
    if target.read(names.IDENTITY) is not None:
        return page_files("export")
    if target.read(METADATA) is not None:
        return page_files("zarr")
    if target.read(names.CATALOG) is not None:
        return page_files("catalog")
    catalog = to_json(describe_root(target), indent=2)
    return {**page_files("catalog"), names.CATALOG: catalog}


class _Files:
    """The files below a location, with some documents laid over them."""

    def __init__(self, location: Location, documents: Mapping[str, bytes]) -> None:
        self._location = location
        self._documents = documents

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; ``None`` if there is none.

        Raises
        ------
        ExportError
            The store fails.
        """
        if name in self._documents:
            return len(self._documents[name])
        if not self._is_inside(name):
            return None
        try:
            entry = self._location.info(name)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except Exception as error:  # stores raise errors of their own
            raise ExportError(self._location.explain(error, "read", name)) from error
        return None if entry.is_folder else entry.size

    def chunks(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Read the bytes ``start ... stop - 1`` of a file, some at a time."""
        if name in self._documents:
            yield self._documents[name][start:stop]
            return
        for at in range(start, stop, _CHUNK_BYTES):
            end = min(at + _CHUNK_BYTES, stop)
            try:
                yield from self._location.read_ranges([(name, at, end)])
            except OSError as error:
                raise ExportError(self._location.explain(error, "read", name)) from error

    def _is_inside(self, name: str) -> bool:
        """Whether a name stays below the location, also where a link leads elsewhere."""
        parts = name.split("/")
        hidden = any(part.startswith(".") or not part for part in parts) and name != METADATA
        if hidden or "\\" in name or "\0" in name:
            return False
        if not self._location.is_local:
            return True
        path = self._location.path(name)
        exists = os.path.exists(path)  # noqa: PTH110  Path.exists raises for names too long
        return exists and is_below(self._location.url, path)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of whole files and of one range."""

    protocol_version = "HTTP/1.1"
    server_version = "cellucid-dask"
    sys_version = ""
    root: str
    content: _Files

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send the headers of a file."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: a line a gene would hide the address."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        name = path.removeprefix(self.root) or "index.html"
        try:
            size = self.content.size(name) if path.startswith(self.root) else None
        except ExportError as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, said=str(error))
            return
        if size is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        wanted = _range(self.headers.get("Range"), size)
        if wanted is None:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"bytes */{size}")
            return
        start, stop = wanted
        chunks = self.content.chunks(name, start, stop)
        try:
            first = next(chunks, b"") if with_body else b""
        except ExportError as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, said=str(error))
            return
        partial = self.headers.get("Range") is not None and (start, stop) != (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Type", content_type(name))
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        try:
            self.wfile.write(first)
            for chunk in chunks if with_body else ():
                self.wfile.write(chunk)
        except (ExportError, OSError):  # the browser went away, or the store failed half-way
            self.close_connection = True

    def _refuse(self, status: HTTPStatus, content_range: str | None = None, said: str = "") -> None:
        body = said.encode()
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        if said:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the bytes that are asked for; all of them where the header is not understood."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:  # the last so many bytes
        return (max(size - int(last), 0), size) if int(last) and size else None
    if last and int(last) < int(first):
        return 0, size
    stop = min(int(last) + 1, size) if last else size
    return (int(first), stop) if int(first) < size else None
