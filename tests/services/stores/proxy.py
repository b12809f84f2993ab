"""A proxy for HTTP that fails as networks and stores do, at requests it was told to."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

Fault = str | None  # "503", "403", "501", "reset", "cut", "slow", "silent"
_ANSWERS = {
    "503": b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>",
    "501": b"<Error><Code>NotImplemented</Code><Message>A header you provided</Message></Error>",
    "403": b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
}


class Proxy:
    """Counts requests and asks `fault` of each, by its number and method, how it shall fail.

    `hidden` are headers that it does not pass on, in lower case; `translated` is what it makes of
    the others, and of the request line.
    """

    def __init__(
        self,
        behind: str,
        fault: Callable[[int, str], Fault],
        hidden: tuple[str, ...] = (),
        translated: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._translated = translated
        self._hidden = tuple(f"{name}:".encode() for name in ("connection", "expect", *hidden))
        place = urlsplit(behind)
        self._behind = (place.hostname, place.port)
        self._fault = fault
        self.count = 0
        self.faults: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, a request at a time."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method = head.split(b" ", 1)[0].decode()
        fields = _fields(head)
        if fields.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, fields)
        self.count += 1
        fault = self._fault(self.count, method)
        if fault:
            self.faults.append(fault)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault in _ANSWERS:
            answer = b"" if method == "HEAD" else _ANSWERS[fault]
            writer.write(
                f"HTTP/1.1 {fault} No\r\nContent-Type: application/xml\r\n"
                f"Content-Length: {len(answer)}\r\n\r\n".encode()
                + answer
            )
            await writer.drain()
            return True
        if fault == "slow":
            await asyncio.sleep(0.5)
        if fault == "silent":
            await asyncio.sleep(3600)
        answer = await self._ask(head, body)
        if fault == "cut":
            writer.write(answer[: max(len(answer) - 7, 1)])
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return False  # a connection each: enough for a test

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        lines = [
            line
            for line in head.rstrip(b"\r\n").split(b"\r\n")
            if not line.lower().startswith(self._hidden)
        ]
        reader, writer = await asyncio.open_connection(*self._behind)
        head = self._translated(b"\r\n".join([*lines, b"Connection: close"]))
        writer.write(head + b"\r\n\r\n" + body)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin1").split("\r\n")[1:]
    return {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    """Return a request's body as it came, in chunks or not."""
    if "chunked" not in fields.get("transfer-encoding", "").lower():
        return await reader.readexactly(int(fields.get("content-length", 0)))
    found = b""
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        found += line + await reader.readexactly(size + 2)
        if size == 0:
            return found


def sometimes(share: float, seed: int = 0) -> Callable[[int, str], Fault]:
    """Fail at a share of the requests, in every way in turn."""
    chance = random.Random(seed)
    kinds = iter(["503", "reset", "cut", "slow"] * 10_000)
    return lambda _number, _method: next(kinds) if chance.random() < share else None


@contextmanager
def proxied(
    behind: str,
    fault: Callable[[int, str], Fault],
    hidden: tuple[str, ...] = (),
    translated: Callable[[bytes], bytes] = bytes,
) -> Iterator[tuple[str, Proxy]]:
    """Run a proxy in a thread until the block ends; return its address and itself."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = Proxy(behind, fault, hidden, translated)
    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(proxy.serve, "127.0.0.1", 0), loop
    ).result()
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", proxy
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
