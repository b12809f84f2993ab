"""A server that speaks S3 nearly: where obstore does not understand it, fsspec is asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import cellucid_dask
from tests.helpers import SETTINGS, small_anndata, write_h5ad
from tests.viewer_reader import check

pytest.importorskip("s3fs")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the files of a folder with a date that does not exist; nothing is listed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = tmp_path / self.path.partition("?")[0].rpartition("/")[2]
            if "?" in self.path or not file.is_file():
                self.send_response(403 if "?" in self.path else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = file.read_bytes()
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "bytes=0-")
            assert wanted is not None
            first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("ETag", '"abc"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2025 07:28:00 GMT")  # it was a Tuesday
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[first : last + 1])

        do_HEAD = do_GET  # noqa: N815  the library's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_a_date_that_does_not_exist(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    adata = small_anndata()
    write_h5ad(adata, tmp_path / "a.h5ad")
    options = {"endpoint_url": server, "anon": True}
    cellucid_dask.export(
        "s3://bucket/a.h5ad", tmp_path / "export", source_storage_options=options, **SETTINGS
    )
    found = check(tmp_path / "export")
    assert len(found.genes) == adata.n_vars
    values = adata.X[:, 3].toarray()[:, 0]
    np.testing.assert_allclose(found.gene("gene3"), values, atol=np.ptp(values) / 254)
