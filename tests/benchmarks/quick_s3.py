"""S3 in memory that costs little CPU: for measuring clients, not for keeping anything.

``python -m tests.benchmarks.quick_s3 PORT`` answers on the loopback interface until it is ended. It
knows what an export asks for: objects whole, by range, on condition and in parts, lists and bulk
removal. It looks at no credentials.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape, unescape

DATE = formatdate(usegmt=True)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d*)-(\d*)")
_TYPE = re.compile(rb"(?i)\r\ncontent-type: *([^\r]*)")
_CREATES = re.compile(rb"(?i)\r\nif-none-match: *\*")
_WAITS = re.compile(rb"(?i)\r\nexpect: *100-continue")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close")
_PAGE = 1000

objects: dict[str, tuple[bytes, str, bytes]] = {}  # by path: data, ETag, content type
parts: dict[str, dict[int, bytes]] = {}  # by upload


def answer(status: str, body: bytes = b"", more: str = "", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


def error(status: str, code: str) -> bytes:
    return answer(status, f"<Error><Code>{code}</Code></Error>".encode())


def keep(path: str, data: bytes, kind: bytes) -> str:
    tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
    objects[path] = data, tag, kind
    return tag


def put(path: str, query: dict[str, str], head: bytes, body: bytes) -> bytes:
    if "uploadId" in query:
        parts[query["uploadId"]][int(query["partNumber"])] = body
        return answer("200 OK", more='ETag: "part"\r\n')
    if "/" not in path:  # a bucket
        return answer("200 OK")
    if path in objects and _CREATES.search(head):
        return error("412 Precondition Failed", "PreconditionFailed")
    kind = _TYPE.search(head)
    tag = keep(path, body, kind[1] if kind else b"binary/octet-stream")
    return answer("200 OK", more=f'ETag: "{tag}"\r\n')


def get(path: str, query: dict[str, str], head: bytes, *, with_body: bool) -> bytes:
    if "/" not in path:
        return listing(path, query) if query else answer("200 OK")
    if path not in objects:
        return error("404 Not Found", "NoSuchKey") if with_body else answer("404 Not Found")
    data, tag, kind = objects[path]
    more = f'ETag: "{tag}"\r\nLast-Modified: {DATE}\r\nContent-Type: {kind.decode()}\r\n'
    if not (wanted := _RANGE.search(head)):
        return answer("200 OK", data if with_body else b"", more, len(data))
    first = int(wanted[1]) if wanted[1] else max(len(data) - int(wanted[2]), 0)
    last = min(int(wanted[2]) if wanted[1] and wanted[2] else len(data), len(data) - 1)
    if first >= len(data):
        return error("416 Range Not Satisfiable", "InvalidRange")
    more += f"Content-Range: bytes {first}-{last}/{len(data)}\r\n"
    return answer("206 Partial Content", data[first : last + 1], more)


def listing(bucket: str, query: dict[str, str]) -> bytes:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
    after, most = query.get("continuation-token", ""), int(query.get("max-keys", _PAGE))
    begin = f"{bucket}/{prefix}"
    found: dict[str, str] = {}
    for path in sorted(path for path in objects if path.startswith(begin)):
        key = path[len(bucket) + 1 :]
        folder, slash, _ = key[len(prefix) :].partition(delimiter or "\0")
        name = prefix + folder + slash
        if name <= after:
            continue
        if len(found) == most and name not in found:
            break
        data, tag, _ = objects[path]
        found[name] = (
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if slash
            else f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            f'<ETag>"{tag}"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>'
        )
    else:
        most = 0
    token = f"<NextContinuationToken>{escape(max(found))}</NextContinuationToken>" if most else ""
    text = (
        f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(found)}</KeyCount><IsTruncated>{str(bool(most)).lower()}</IsTruncated>"
        f"{token}{''.join(found.values())}</ListBucketResult>"
    )
    return answer("200 OK", text.encode(), "Content-Type: application/xml\r\n")


def post(path: str, query: dict[str, str], head: bytes, body: bytes) -> bytes:
    if "delete" in query:
        keys = re.findall(r"<Key>.*?</Key>", body.decode())
        for key in keys:
            objects.pop(f"{path}/{unescape(key[5:-6])}", None)
        done = "".join(f"<Deleted>{key}</Deleted>" for key in keys)
        return answer("200 OK", f"<DeleteResult>{done}</DeleteResult>".encode())
    if "uploads" in query:
        upload = f"{path}?{len(parts)}"
        parts[upload] = {}
        kind = _TYPE.search(head)
        parts[upload][-1] = kind[1] if kind else b"binary/octet-stream"
        found = f"<UploadId>{escape(upload)}</UploadId>"
        return answer(
            "200 OK",
            f"<InitiateMultipartUploadResult>{found}</InitiateMultipartUploadResult>".encode(),
        )
    found_parts = parts.pop(query["uploadId"])
    kind_of = found_parts.pop(-1)
    tag = keep(path, b"".join(found_parts[number] for number in sorted(found_parts)), kind_of)
    text = f'<CompleteMultipartUploadResult><ETag>"{tag}"</ETag></CompleteMultipartUploadResult>'
    return answer("200 OK", text.encode())


def respond(head: bytes, body: bytes) -> bytes:
    method, target, _ = head.split(b" ", 2)
    where, _, text = target.decode().partition("?")
    path = unquote(where).strip("/")
    query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
    query.pop("x-id", None)
    if method == b"PUT":
        return put(path, query, head, body)
    if method == b"POST":
        return post(path, query, head, body)
    if method == b"DELETE":
        objects.pop(path, None)
        return answer("204 No Content")
    return get(path, query, head, with_body=method == b"GET")


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, one after the other."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._needed = 0  # bytes of the request, once its head is there
        self._head = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        while self._one():
            pass

    def _one(self) -> bool:
        came = self._came
        if not self._needed:
            if (end := came.find(b"\r\n\r\n")) < 0:
                return False
            self._head = end + 4
            length = _LENGTH.search(came, 0, self._head)
            self._needed = self._head + (int(length[1]) if length else 0)
            if self._needed > len(came) and _WAITS.search(came, 0, self._head):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(came) < self._needed:
            return False
        head, body = bytes(came[: self._head]), bytes(memoryview(came)[self._head : self._needed])
        del came[: self._needed]
        self._needed = 0
        self._transport.write(respond(head, body))
        if _CLOSES.search(head):
            self._transport.close()
        return True


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
