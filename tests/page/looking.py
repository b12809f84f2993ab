"""A page in a real browser: opened, watched, read back."""

from __future__ import annotations

import base64
import csv
import gzip
import http.server
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import anndata as ad
import numpy as np
import pandas as pd

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
SECONDS = 60  # until a page is ready, on a machine that many share
# What a browser itself says of a file that is missing: for tests in which one is.
NOT_LOADED = r"Failed to load resource|status of 4\d\d"

VIEWPORT = {"width": 1000, "height": 640}
CELLS = 300  # of the synthetic atlas, and its categories and its exports
KINDS = ["T", 'B "x", <b>', "NK", "mono"]
QUANTIZATIONS = [8, 16, None]

Codes = np.ndarray[Any, np.dtype[Any]]


class Site:
    """A folder served as static files, and which of them were asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requested: list[str] = []
        requested = self.requested

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                requested.append(self.path)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(root))
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Site]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class Looker:
    """Opens pages, and notes everything about them that should not be.

    Pages share a browser's cache and settings, as the tabs of a reader do, unless a page is
    opened with a `context` of its own.
    """

    def __init__(self, shared: Any, site: str) -> None:
        self._shared = shared
        self._site = site
        self._opened: list[Any] = []  # pages, and contexts that are not shared
        self.wrong: list[str] = []

    def __call__(
        self,
        export: object,
        fragment: str = "",
        *,
        expect: str = "ready",
        allow: str = r"(?!)",
        context: dict[str, Any] | None = None,
        **state: object,
    ) -> Any:
        """Open an export of the site, or an address, at a state and wait until it is drawn.

        Nothing may be asked for outside the folder of the page, and the browser may complain
        only of what `allow` matches.
        """
        address = str(export) if "://" in str(export) else f"{self._site}/{export}/"
        base = address[: address.rindex("/") + 1]
        if context is None:
            page = self._shared.new_page()
            self._opened.append(page)
        else:
            own = self._shared.browser.new_context(**{"viewport": VIEWPORT, **context})
            self._opened.append(own)
            page = own.new_page()
        page.set_default_timeout(SECONDS * 1000)

        def complain(text: str) -> None:
            if not re.search(f"{allow}|willReadFrequently", text):  # of `pixels`
                self.wrong.append(text)

        def outside(request: Any) -> None:
            if not request.url.startswith((base, "data:", f"blob:{_origin(base)}/")):
                self.wrong.append(f"asked for {request.url}")

        page.on("pageerror", lambda error: complain(f"page error: {error}"))
        page.on(
            "console",
            lambda said: complain(said.text) if said.type in {"error", "warning"} else None,
        )
        page.on(
            "dialog", lambda shown: (self.wrong.append(f"dialog: {shown.message}"), shown.dismiss())
        )
        page.on("popup", lambda opened: self.wrong.append(f"popup: {opened.url}"))
        page.on("request", outside)
        page.goto(f"{address}#{fragment or urlencode(state)}")
        page.wait_for_selector("html:not([data-state=loading])", state="attached")
        assert page.get_attribute("html", "data-state") == expect, page.inner_text("body")[-300:]
        return page

    def close(self) -> None:
        for each in self._opened:
            each.close()


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def ready(page: Any) -> None:
    """Wait until what the address says is drawn; a press may have begun something else again."""
    state = "loading"
    while state == "loading":
        page.wait_for_selector("html:not([data-state=loading])", state="attached")
        state = page.get_attribute("html", "data-state")
    assert state == "ready", page.inner_text("body")[-300:]


def _holds(page: Any, condition: str | Callable[[], object]) -> bool:
    try:
        return bool(condition() if callable(condition) else page.evaluate(condition))
    except Exception as error:  # another page comes in its place
        if "context was destroyed" not in str(error):
            raise
        return False


def until(page: Any, condition: str | Callable[[], object]) -> None:
    """Wait until JavaScript, or a function, says so, and what the address says is drawn.

    The page's policy keeps playwright's own way out.
    """
    end = time.monotonic() + SECONDS
    while not _holds(page, condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)
    ready(page)


def go(page: Any, **state: object) -> None:
    """Change the address, as a link or the back button does, and wait until that is drawn."""
    page.evaluate(
        """hash => new Promise((heard) => {
            if (location.hash === `#${hash}`) return heard();
            addEventListener("hashchange", heard, { once: true }); // after the page has
            location.hash = hash;
        })""",
        urlencode(state),
    )
    ready(page)


def saved(page: Any, selector: str) -> str:
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_text()


def table(page: Any, selector: str = "#analysis button:text-is('CSV')") -> list[dict[str, str]]:
    return list(csv.DictReader(saved(page, selector).splitlines()))


def pixels(page: Any, canvas: str = "cells") -> Codes:
    """Return what is drawn: (height, width, 3), uint8."""
    how = {
        "cells": """
            const cells = document.getElementById("cells"), gl = cells.getContext("webgl2");
            const { width, height } = cells, data = new Uint8Array(4 * width * height);
            gl.bindFramebuffer(gl.FRAMEBUFFER, null);
            gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);""",
        "labels": """
            const labels = document.getElementById("labels"), { width, height } = labels;
            const { data } = labels.getContext("2d").getImageData(0, 0, width, height);""",
    }[canvas]
    width, height, text = page.evaluate(
        f"""async () => {{ {how}
            const url = await new Promise((done) => {{
                const reader = new FileReader();
                reader.onload = () => done(reader.result);
                reader.readAsDataURL(new Blob([data]));
            }});
            return [width, height, url.split(",")[1]];
        }}"""
    )
    read = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
    return read[::-1, :, :3] if canvas == "cells" else read[..., 3:]


def background(page: Any) -> Codes:
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return np.array([0x17, 0x18, 0x1C] if dark else [255, 255, 255], np.uint8)


def drawn(page: Any) -> int:
    """How many pixels of the picture are not background."""
    return int((pixels(page) != background(page)).any(-1).sum())


def colors(page: Any) -> set[str]:
    """All colors of the picture, as hex."""
    return {f"{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(pixels(page).reshape(-1, 3), axis=0)}


def size_of(page: Any) -> tuple[float, float]:
    box = page.locator("#cells").bounding_box()
    return box["width"], box["height"]


def places(page: Any, export: Path) -> Codes:
    """Where cells of a 2D embedding lie on the picture, in pixels of the page: all, seen whole."""
    width, height = size_of(page)
    x, y = points(export, 2).T * 0.9 * min(width, height) / 2
    return np.stack([width / 2 + x, height / 2 - y], 1)


def alone(where: Codes, pixels: float = 9) -> Codes:
    """Return the numbers of cells with no other cell so near."""
    apart = np.linalg.norm(where[:, None] - where[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return np.flatnonzero(apart.min(1) > pixels)


def at(picture: Codes, where: Codes) -> Codes:
    """Return colors of the picture at places."""
    x, y = np.floor(where).astype(int).T
    return np.asarray(picture[y, x])


def read_array(export: Path, path: str, dtype: str) -> Codes:
    file = next(each for each in (export / path, export / f"{path}.gz") if each.exists())
    data = file.read_bytes()
    return np.frombuffer(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data, dtype)


def points(export: Path, dim: int) -> Codes:
    return read_array(export, f"points_{dim}d.bin", "<f4").reshape(-1, dim)


def safe_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", key).strip("._") or "field"


def decoded(export: Path, gene: str) -> Codes:
    """Values of a gene as FORMAT.md says that they are read."""
    manifest = json.loads((export / "var_manifest.json").read_text())
    schema = manifest["_varSchema"]
    field = next(field for field in manifest["fields"] if field[0] == gene)
    dtype = {"u8": "u1", "u16": "<u2", "f32": "<f4"}[schema["ext"]]
    path = schema["pathPattern"].replace("{key}", safe_name(gene)).removesuffix(".gz")
    codes = read_array(export, path, dtype)
    if schema["ext"] == "f32":
        return codes.astype(np.float64)
    top = np.iinfo(codes.dtype).max - 1
    low, high = field[1:]
    return np.where(codes > top, np.nan, low + codes.astype(np.float64) * (high - low) / top)


def some(n_cells: int, genes: list[str], **obs: Any) -> ad.AnnData:
    """Return so many cells with an embedding in 2D and these columns."""
    random = np.random.default_rng(1)
    return ad.AnnData(
        random.gamma(2, 1, (n_cells, len(genes))).astype(np.float32),
        obs=pd.DataFrame(obs, index=[str(i) for i in range(n_cells)]),
        var=pd.DataFrame(index=genes),
        obsm={"X_umap": random.uniform(-1, 1, (n_cells, 2))},
    )
