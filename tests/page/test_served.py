"""The page from servers that people use: each serves the files as they are."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import boto3
import pytest

import cellucid_dask
from cellucid_dask.read.serve import Server
from cellucid_dask.store.target import Target
from tests.page.looking import Looker, Site, drawn, go, table, until
from tests.services.stores.servers import free_port, moto, running

pytestmark = pytest.mark.xdist_group("page")


def check(page: Any) -> None:
    """A picture, a gene, and an analysis, which loads a module."""
    assert drawn(page) > 300
    go(page, gene="LYZ", panel="spread")
    assert page.inner_text("#bar h2") == "LYZ"
    assert page.inner_text("#analysis h2") == "LYZ by cell_type"


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_our_own_server(look: Looker, exports: Path, atlas: ad.AnnData, kind: str) -> None:
    target = str(exports / "8")
    if kind == "memory":
        target = "memory://page/8"
        cellucid_dask.export(atlas, target, page=False, progress=False)
    server = Server(Target.of(target, {})).start()
    try:
        check(look(server.url))
    finally:
        server.close()


def test_python_below_a_path(look: Looker, exports: Path) -> None:
    port = free_port()
    command = [
        sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1",
        "--directory", str(exports.parent),
    ]  # fmt: skip
    with running(command, port):
        check(look(f"http://127.0.0.1:{port}/{exports.name}/None/"))
        check(look(f"http://127.0.0.1:{port}/{exports.name}/8/index.html"))


NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 127.0.0.1:{port};
    location /plain/ {{ alias {exports}/; }}
    location /inflated/ {{
      alias {exports}/;
      location ~ \\.gz$ {{ add_header Content-Encoding gzip; root {exports}; rewrite ^/inflated/(.*)$ /$1 break; }}
    }}
    location /squeezed/ {{ alias {exports}/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /behind/a/proxy/ {{ proxy_pass http://127.0.0.1:{port}/plain/; }}
    location /strict/ {{
      alias {exports}/;
      add_header Content-Security-Policy "default-src 'self'";
      add_header X-Content-Type-Options nosniff;
      default_type application/octet-stream;
      add_header Cache-Control "public, max-age=31536000";
    }}
  }}
}}
"""  # noqa: E501


@contextmanager
def _nginx(exports: Path, folder: Path) -> Iterator[str]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    for each in (exports, *exports.parents):  # its workers are of another user
        if each.stat().st_uid == os.geteuid() and not each.stat().st_mode & 0o001:
            each.chmod(0o755)
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, exports=exports, port=port))
    with running([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], port):
        yield f"http://127.0.0.1:{port}"


def test_nginx(look: Looker, exports: Path, tmp_path: Path) -> None:
    """As it is, with ``.gz`` said to be an encoding, compressed again, behind a proxy."""
    with _nginx(exports, tmp_path) as address:
        for path in ["plain", "inflated", "squeezed", "behind/a/proxy", "strict"]:
            page = look(f"{address}/{path}/8/", allow="Loading the image 'data:,'")
            answer = page.request.get(f"{address}/{path}/8/points_2d.bin.gz")
            encoded = answer.headers.get("content-encoding") == "gzip"
            assert encoded == (path in {"inflated", "squeezed"})
            check(page)


def test_a_bucket(look: Looker, atlas: ad.AnnData) -> None:
    """Written by us, opened by the address of the object."""
    with moto() as store:
        bucket = store.bucket()
        client = boto3.client(
            "s3", endpoint_url=store.address, aws_access_key_id=store.options["key"],
            aws_secret_access_key=store.options["secret"], region_name="us-east-1",
        )  # fmt: skip
        client.put_bucket_acl(Bucket=bucket.removeprefix("s3://"), ACL="public-read")
        target = f"{bucket}/atlases/pbmc"
        cellucid_dask.export(atlas, target, storage_options=store.options, progress=False)
        check(look(f"{store.address}/{target.removeprefix('s3://')}/index.html"))
        listed = cellucid_dask.catalog(f"{bucket}/atlases", storage_options=store.options)
        assert listed["default"] == "pbmc"
        check(look(f"{store.address}/{bucket.removeprefix('s3://')}/atlases/index.html"))


def test_a_double_click(look: Looker, exports: Path) -> None:
    page = look(f"file://{exports}/8/index.html", expect="failed", allow="CORS|ERR_FAILED|origin")
    assert "cellucid-dask view" in page.inner_text("#message")


def test_a_root_of_several(look: Looker, exports: Path, tmp_path: Path, site: Site) -> None:
    root = site.root / "several"
    for name in "8", "16":
        shutil.copytree(exports / name, root / f"of {name} bits")
    cellucid_dask.catalog(root, default="Atlas_of_8_bits")
    page = look("several")
    assert page.title() == "Atlas of 8 bits"
    options = page.locator("#datasets option").all_inner_texts()
    assert options == ["Atlas of 16 bits (300 cells)", "Atlas of 8 bits (300 cells)"]
    check(page)
    page.select_option("#datasets", "Atlas_of_16_bits")
    until(page, "document.title === 'Atlas of 16 bits'")
    assert page.url.endswith("#ds=Atlas_of_16_bits")
    page.go_back()
    until(page, "document.title === 'Atlas of 8 bits'")
    page = look("several", ds="nope", gene="LYZ")
    assert "no data set “nope”" in page.inner_text("#notice")
    assert page.inner_text("#bar h2") == "LYZ"

    # The same without a catalog, which our own server makes; it writes nothing.
    unlisted = tmp_path / "unlisted"
    shutil.copytree(root / "of 8 bits", unlisted / "one")
    server = Server(Target.of(unlisted, {})).start()
    try:
        check(look(server.url))
    finally:
        server.close()
    assert [each.name for each in unlisted.iterdir()] == ["one"]


def test_a_new_export_at_the_same_address_is_seen(
    look: Looker, site: Site, atlas: ad.AnnData
) -> None:
    target = site.root / "again"
    cellucid_dask.export(atlas, target, progress=False)
    page = look("again", gene="LYZ", panel="spread")
    before = table(page)
    other = atlas.copy()
    other.X = other.X[::-1].copy()
    cellucid_dask.export(other, target, force=True, progress=False)
    page.reload()
    until(page, "document.querySelector('#analysis h2')?.textContent.startsWith('LYZ')")
    assert table(page) != before
