"""Sources on web servers and in buckets that list nothing, sign their URLs, or fail."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import anndata as ad
import numpy as np
import pytest
import zarr

import cellucid_dask
from cellucid_dask.engine import genes
from cellucid_dask.errors import RequestError
from tests.helpers import SETTINGS, small_anndata, tree_bytes, write_h5ad, write_zarr
from tests.viewer_reader import check

pytest.importorskip("aiohttp")


class Server(BaseHTTPRequestHandler):
    """Answers for the files of a folder, and lists nothing.

    Attributes
    ----------
    answers
        A status for every path that matches a pattern.
    ranges
        Whether it sends parts of files.
    """

    folder: Path
    answers: dict[str, int]
    ranges: bool

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        file = self.folder / path[1:]
        status = next((code for what, code in self.answers.items() if re.search(what, path)), 200)
        if status != 200 or not file.is_file():
            return self._say(404 if status == 200 else status, {}, b"")
        data = file.read_bytes()
        tag = {"ETag": f'"{hash(data)}"', "Accept-Ranges": "bytes" if self.ranges else "none"}
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not (self.ranges and asked):
            return self._say(200, tag if self.ranges else {}, data)
        start, stop = int(asked[1]), int(asked[2] or len(data) - 1) + 1
        part = data[start:stop]
        shown = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        return self._say(206, {**tag, "Content-Range": shown}, part)

    do_HEAD = do_GET  # noqa: N815  the library's name

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path, answers: dict[str, int], ranges: bool) -> Iterator[str]:
    kind = type("_", (Server,), {"folder": folder, "answers": answers, "ranges": ranges})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve the folder of the test: with statuses for some paths, or without ranges."""
    with ExitStack() as stack:
        yield lambda answers=None, ranges=True: stack.enter_context(
            serving(tmp_path, answers or {}, ranges)
        )


@pytest.fixture
def expected(small_h5ad: Path, tmp_path: Path) -> dict[str, bytes]:
    cellucid_dask.export(small_h5ad, tmp_path / "expected", **SETTINGS)
    return tree_bytes(tmp_path / "expected")


def write_unconsolidated(adata: ad.AnnData, path: Path, version: Any) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=version)
    ad.io.write_elem(group, "/", adata)


@pytest.mark.parametrize(
    "address",
    ["a.h5ad", "a.h5ad?download=1", "a.h5ad?X-Amz-Signature=hush", "36094", "36094?x=y.z"],
)
def test_h5ad_of_any_address(
    serve: Serve, small_h5ad: Path, tmp_path: Path, expected: dict[str, bytes], address: str
) -> None:
    shutil.copy(small_h5ad, tmp_path / urlsplit(address).path)
    cellucid_dask.export(f"{serve()}/{address}", tmp_path / "out", **SETTINGS)
    assert tree_bytes(tmp_path / "out") == expected


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_zarr_that_is_not_listed(
    serve: Serve, tmp_path: Path, expected: dict[str, bytes], version: Any
) -> None:
    write_zarr(small_anndata(), tmp_path / "cells", version=version)
    zarr.consolidate_metadata(tmp_path / "cells")
    denied = r"cells(/zarr\.json)?$" if version == 2 else "cells$"
    for number, answers in enumerate(({}, {denied: 403})):
        out = tmp_path / f"out{number}"
        cellucid_dask.export(f"{serve(answers)}/cells", out, **SETTINGS)
        assert tree_bytes(out) == expected


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_of_unknown_content(serve: Serve, tmp_path: Path, version: int) -> None:
    adata = small_anndata()
    write_unconsolidated(adata, tmp_path / "a.zarr", version)
    url = f"{serve()}/a.zarr"
    with pytest.raises(RequestError, match=r"cannot be listed.*zarr\.consolidate_metadata"):
        cellucid_dask.plan(url)
    with pytest.raises(RequestError, match=r"layers .*cannot be listed"):
        cellucid_dask.plan(url, layer="nonsense")
    chosen: dict[str, Any] = {"embeddings": ["X_umap"], "latent": "X_pca"}
    with pytest.raises(RequestError, match=r"obsm .*cannot be listed"):
        cellucid_dask.plan(url, embeddings=["X_nonsense"], latent="X_pca")
    for number, layer in enumerate(("X", "doubled", "raw")):
        options = {**SETTINGS, **chosen, "layer": layer, "connectivities": "connectivities"}
        cellucid_dask.export(url, tmp_path / f"web{number}", **options)
        cellucid_dask.export(tmp_path / "a.zarr", tmp_path / f"disk{number}", **options)
        assert tree_bytes(tmp_path / f"web{number}") == tree_bytes(tmp_path / f"disk{number}")


def test_zarr_in_a_zip_of_a_chain(tmp_path: Path) -> None:
    write_unconsolidated(small_anndata(), tmp_path / "a.zarr", 3)
    cellucid_dask.export(tmp_path / "a.zarr", tmp_path / "expected", **SETTINGS)
    expected = tree_bytes(tmp_path / "expected")
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        for path in sorted((tmp_path / "a.zarr").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(tmp_path / "a.zarr"))
                archive.write(path, path.relative_to(tmp_path))
    for number, inner in enumerate(("", "a.zarr")):
        url = f"zip://{inner}::file://{tmp_path}/a.zarr.zip"
        cellucid_dask.export(url, tmp_path / f"out{number}", **SETTINGS)
        assert tree_bytes(tmp_path / f"out{number}") == expected


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr", "a"])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "could not be read, access was denied .*401"),
        (403, "could not be read, access was denied .*403"),
        (404, "does not exist"),
        (500, "not respond correctly .*500"),
        pytest.param(503, "not respond correctly .*503", marks=pytest.mark.slow),
    ],
)
def test_why_a_web_server_does_not_give_it(
    serve: Serve, name: str, status: int, words: str
) -> None:
    if status >= 500 and name != "a":
        pytest.skip("each waits ten seconds")
    with pytest.raises(RequestError, match=words) as refusal:
        cellucid_dask.plan(f"{serve({'': status})}/{name}?sig=hush")
    assert "hush" not in str(refusal.value)
    assert "contains no AnnData" not in str(refusal.value)


def test_nobody_listens() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        port = server.server_port
    with pytest.raises(RequestError, match=r"(?i)not respond correctly .*(refused|connect)"):
        cellucid_dask.plan(f"http://127.0.0.1:{port}/a.h5ad?sig=hush")


@pytest.mark.parametrize("name", ["a.h5ad", "a"])
def test_server_without_ranges(serve: Serve, small_h5ad: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(small_h5ad, tmp_path / name)
    with pytest.raises(RequestError, match=r"not support byte ranges: download it first"):
        cellucid_dask.plan(f"{serve(ranges=False)}/{name}?sig=hush")


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"\x1f\x8b rest", "gunzip"), (b"<html>", "web page"), (b"PK\x03\x04", "zip archive")],
)
def test_other_things_of_that_name(serve: Serve, tmp_path: Path, data: bytes, words: str) -> None:
    for name in ("a.h5ad", "a"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RequestError, match=words):
            cellucid_dask.plan(f"{serve()}/{name}")


def test_bucket_that_gives_objects_but_no_lists(
    small_h5ad: Path, tmp_path: Path, expected: dict[str, bytes], serve: Serve
) -> None:
    pytest.importorskip("s3fs")
    (tmp_path / "cells").mkdir()
    shutil.copy(small_h5ad, tmp_path / "cells/a.h5ad")
    small_anndata().write_zarr(tmp_path / "cells/b")
    # what is not there is denied too, as S3 does
    there = "|".join(
        str(path.relative_to(tmp_path))
        for path in (tmp_path / "cells").rglob("*")
        if path.is_file()
    )
    options = {"endpoint_url": serve({f"^/(?!({there})$)": 403}), "anon": True}
    for name in ("a.h5ad", "b"):
        source = f"s3://cells/{name}"
        cellucid_dask.plan(source, source_storage_options=options)
        cellucid_dask.export(
            source, tmp_path / f"{name}.out", source_storage_options=options, **SETTINGS
        )
        assert tree_bytes(tmp_path / f"{name}.out") == expected
    with pytest.raises(RequestError, match="could not be read, access was denied"):
        cellucid_dask.plan("s3://cells/nothing", source_storage_options=options)


# A source that changes


@pytest.mark.parametrize("form", ["h5ad", "zarr", "backed", "web"])
def test_source_that_changes_while_it_is_exported(
    serve: Serve, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("a.zarr" if form == "zarr" else "a.h5ad")
    adata = small_anndata()
    write_zarr(adata, path, version=2) if form == "zarr" else write_h5ad(adata, path)
    source: Any = {"web": f"{serve()}/a.h5ad"}.get(form, path)
    if form == "backed":
        source = ad.read_h5ad(path, backed="r")

    def spoil(*arguments: Any, **options: Any) -> Any:
        if form == "zarr":
            chunk = path / "X/data/0"
            chunk.write_bytes(chunk.read_bytes())
        else:
            small_anndata(seed=8).write_h5ad(tmp_path / "new.h5ad")
            (tmp_path / "new.h5ad").replace(path)
        return export_genes(*arguments, **options)

    export_genes = genes.export_genes
    monkeypatch.setattr("cellucid_dask.engine.write.export_genes", spoil)
    with pytest.raises(cellucid_dask.ExportError, match=r"has changed while.*force"):
        cellucid_dask.export(source, tmp_path / "out", **SETTINGS)
    assert not (tmp_path / "out/dataset_identity.json").exists()
    assert not (tmp_path / "out/obs_manifest.json").exists()
    monkeypatch.undo()
    cellucid_dask.export(path, tmp_path / "out", force=True, **SETTINGS)
    found = check(tmp_path / "out")
    seed = 7 if form == "zarr" else 8
    wanted = small_anndata(seed=seed).X[:, 0].toarray().ravel()
    np.testing.assert_allclose(found.gene("gene0"), wanted, rtol=0, atol=np.ptp(wanted) / 500)
