"""Open exports in a browser: the page, and a plain one with a scatter library.

Both are given the same files by the same server, and are asked by their address for one gene after
another. Needs playwright, Debian's chromium or Chrome, and npm for the library.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import cellucid_dask
from tests.benchmarks.data import dataset

SIZES = (200_000, 1_000_000, 5_000_000)
N_GENES = 40
LIBRARY = "regl-scatterplot@1.16.0"
PEER = Path(__file__).parent / "peers" / "scatter.html"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# The picture is drawn by the processor; memory is measured when it is asked for.
FLAGS = (
    "--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--enable-blink-features=ForceEagerMeasureMemory",
)  # fmt: skip
WHEEL_TURNS, TURN_MS = 30, 40
TIMEOUT_MS = 180_000
DRAWN = "html[data-state=ready], html[data-state=failed]"

# Before anything else on a page: note tasks that keep it from answering, and every frame.
WATCH = """
window.tasks = []; window.frames_at = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) tasks.push([each.startTime, each.duration]);
}).observe({ type: "longtask", buffered: true });
(function frame(at) { frames_at.push(at); requestAnimationFrame(frame); })(0);
"""
CHOOSE = """(gene) => new Promise((done) => {
  const from = performance.now(), root = document.documentElement;
  const watch = new MutationObserver(() => {
    if (root.dataset.state === "loading") return;
    watch.disconnect();
    done(performance.now() - from);
  });
  watch.observe(root, { attributes: true, attributeFilter: ["data-state"] });
  location.hash = "#gene=" + gene;
})"""
# The longest since last asked; what the plain page waits for the graphics card is no task of it.
LONGEST = """() => {
  const waits = ([at, took]) =>
    window.waits?.some(([from, to]) => from >= at && to <= at + took + 1);
  return Math.max(0, ...tasks.splice(0).filter((task) => !waits(task)).map(([, took]) => took));
}"""
MEMORY = "async () => (await performance.measureUserAgentSpecificMemory()).bytes"


@dataclass(frozen=True)
class Visit:
    """What one visit of a page took: milliseconds, frames a second, bytes."""

    first_picture: float
    gene: float
    longest_loading: float
    longest_zooming: float
    frames_per_second: float
    worst_frame: float
    memory: float


Figure = tuple[str, Callable[[Visit], float], str]
FIGURES: tuple[Figure, ...] = (
    ("first picture, s", lambda visit: visit.first_picture / 1000, ".2f"),
    ("gene to picture, ms", lambda visit: visit.gene, ",.0f"),
    ("longest task until then, ms", lambda visit: visit.longest_loading, ",.0f"),
    ("longest task while zooming, ms", lambda visit: visit.longest_zooming, ",.0f"),
    ("frames a second while zooming", lambda visit: visit.frames_per_second, ".0f"),
    ("longest frame while zooming, ms", lambda visit: visit.worst_frame, ",.0f"),
    ("memory of JavaScript, MB", lambda visit: visit.memory / 1e6, ",.0f"),
)


def main() -> None:
    options = _options()
    cache = options.cache.absolute()
    exports = [_export(cache, cells) for cells in options.cells]
    _install_peer(cache)
    pages = {"the page": "{export}/", LIBRARY: f"peer/{PEER.name}?export=/{{export}}/"}
    rows: list[list[str]] = []
    with _served(cache) as root:
        for cells, export in zip(options.cells, exports, strict=True):
            visits: dict[str, list[Visit]] = {name: [] for name in pages}
            for turn in range(options.repeat):
                for name, path in pages.items():
                    print(f"{cells:,} cells, turn {turn + 1}: {name}", file=sys.stderr)
                    url = root + path.format(export=export.relative_to(cache).as_posix())
                    try:
                        visits[name].append(_visit(url, options.genes))
                    except Exception as error:  # noqa: BLE001  the browser's many ways to give up
                        print(f"{name} failed: {str(error).splitlines()[0]}", file=sys.stderr)
            rows += _rows(cells, visits)
    print(f"medians of {options.repeat}; {options.genes} genes; {_browser_version()}\n")
    print(_table(["cells", "", *pages], rows))


def _rows(cells: int, visits: dict[str, list[Visit]]) -> Iterator[list[str]]:
    for title, figure, form in FIGURES:
        values = [
            f"{statistics.median(map(figure, each)):{form}}" if each else "failed"
            for each in visits.values()
        ]
        yield [f"{cells:,}", title, *values]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:", "---", *("---:" for _ in head[2:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _visit(url: str, n_genes: int) -> Visit:
    """Open a page in a fresh browser; choose genes; turn the wheel."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(WATCH)
            page.goto(url, timeout=TIMEOUT_MS)
            _wait(page)
            first_picture = page.evaluate("performance.now()")
            page.wait_for_timeout(1000)
            genes = [f"GENE{number * N_GENES // n_genes}" for number in range(n_genes)]
            took = [page.evaluate(CHOOSE, gene) for gene in genes]
            longest_loading = page.evaluate(LONGEST)
            frames = _zoom(page)
            longest_zooming = page.evaluate(LONGEST)
            _wait(page)
            return Visit(
                first_picture=first_picture,
                gene=statistics.median(took),
                longest_loading=longest_loading,
                longest_zooming=longest_zooming,
                frames_per_second=1000 / statistics.fmean(frames),
                worst_frame=max(frames),
                memory=page.evaluate(MEMORY),
            )
        finally:
            browser.close()


def _wait(page: Any) -> None:
    page.wait_for_selector(DRAWN, state="attached", timeout=TIMEOUT_MS)
    if page.evaluate("document.documentElement.dataset.state") == "failed":
        raise RuntimeError(f"the page says: {page.inner_text('body')[:200]}")


def _zoom(page: Any) -> list[float]:
    """Turn the wheel in and out again, and return the milliseconds between frames."""
    page.mouse.move(700, 400)
    page.evaluate("frames_at.length = 0")
    for turn in range(WHEEL_TURNS):
        page.mouse.wheel(0, -60 if turn < WHEEL_TURNS // 2 else 60)
        page.wait_for_timeout(TURN_MS)
    at = page.evaluate("frames_at")
    return [later - earlier for earlier, later in pairwise(at)]


def _export(cache: Path, cells: int) -> Path:
    """Return the folder of an export of so many cells, which is made unless it is there already."""
    target = cache / f"page-{cells}"
    source = dataset(cache, cells, N_GENES)
    if not (target / "dataset_identity.json").exists():
        cellucid_dask.export(source, target, dataset_name=f"{cells:,} cells", resume=True)
    # the page of today, also beside an export made before
    subprocess.run([sys.executable, "-m", "cellucid_dask", "page", target], check=True)
    return target


def _install_peer(cache: Path) -> None:
    """Install the library with npm beside the plain page that uses it."""
    folder = cache / "peer"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PEER, folder)
    if not (folder / "node_modules/regl-scatterplot").exists():
        command = ["npm", "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund"]
        subprocess.run([*command, LIBRARY], check=True, stdout=sys.stderr)


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, with the headers without which a browser does not measure memory."""

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise SystemExit("There is no chromium.")
    return found


def _browser_version() -> str:
    done = subprocess.run([_chromium(), "--version"], capture_output=True, text=True, check=True)
    return f"{done.stdout.strip()}, drawing by the processor; Python {platform.python_version()}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    parser.add_argument("--cells", type=_numbers, default=SIZES, metavar="N,N")
    parser.add_argument("--genes", type=int, default=9, help="how many are chosen one by one")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
