"""Whatever is opened is closed, however a run ends: HDF5 kills a process that leaves it open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import h5py
import pytest

import cellucid_dask
from cellucid_dask.source import open_source
from tests.helpers import ROOT, run_in_new_python, small_anndata


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served, by ranges too."""
    pytest.importorskip("aiohttp")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Ranges(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file() or "Range" not in self.headers:
            return super().do_GET()
        data = path.read_bytes()
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("command", "options", "code"),
    [
        ("export", [], 0),
        ("export", ["--layer", "nonsense"], 2),
        ("plan", [], 0),
        ("plan", ["--obs-keys", "nonsense"], 2),
    ],
)
def test_exit_code_with_a_source_by_url(
    served: tuple[Path, str], tmp_path: Path, command: str, options: list[str], code: int
) -> None:
    folder, address = served
    small_anndata().write_h5ad(folder / "a.h5ad")
    target = [str(tmp_path / "out")] if command == "export" else []
    done = run_in_new_python(command, f"{address}/a.h5ad", *target, "--no-progress", *options)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("damage", ["no obs", "truncated", "damaged chunk"])
def test_exit_code_with_a_damaged_source_by_url(
    served: tuple[Path, str], tmp_path: Path, damage: str
) -> None:
    folder, address = served
    path = folder / "a.h5ad"
    small_anndata().write_h5ad(path, compression="gzip")
    if damage == "no obs":
        with h5py.File(path, "a") as file:
            del file["obs"]
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    else:
        with h5py.File(path) as file:
            chunk = file["X/data"].id.get_chunk_info(0)
        data = bytearray(path.read_bytes())
        data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
        path.write_bytes(data)
    done = run_in_new_python("export", f"{address}/a.h5ad", tmp_path / "out", "--no-progress")
    assert done.returncode == (1 if damage == "damaged chunk" else 2), done.stderr
    assert done.stderr.startswith("error: http://127.0.0.1:") or "a.h5ad is not" in done.stderr


@pytest.mark.parametrize("wrong", [False, True])
def test_verify_of_a_source_by_url(served: tuple[Path, str], tmp_path: Path, wrong: bool) -> None:
    folder, address = served
    small_anndata().write_h5ad(folder / "a.h5ad")
    cellucid_dask.export(folder / "a.h5ad", tmp_path / "out", progress=False)
    if wrong:
        small_anndata(seed=8).write_h5ad(folder / "a.h5ad")
    done = run_in_new_python("verify", tmp_path / "out", "--source", f"{address}/a.h5ad")
    assert done.returncode == int(wrong), done.stderr


def test_calls_from_python_that_end_in_an_error(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    small_anndata().write_h5ad(folder / "a.h5ad")
    script = f"""
import cellucid_dask as cd
kept = []  # an error keeps alive whatever its frames hold
for arguments in ({{"layer": "nonsense"}}, {{"scratch": "/dev/null", "normalize": "no"}}):
    try:
        cd.export("{address}/a.h5ad", "{tmp_path}/out", **arguments)
    except cd.RequestError as error:
        kept.append(error)
print(len(kept))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr


def test_exit_code_with_a_source_in_a_bucket(small_h5ad: Path) -> None:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
        fs = fsspec.filesystem("s3", **options)
        fs.mkdir("cells")
        fs.put(str(small_h5ad), "cells/a.h5ad")
        flags = [
            f"--{side}storage-option={name}={value}"
            for side in ("", "source-")
            for name, value in options.items()
        ]
        for target, code in (("s3://cells/out", 0), ("s3://cells/out", 2), ("s3://no/out", 2)):
            done = run_in_new_python("export", "s3://cells/a.h5ad", target, "--no-progress", *flags)
            assert done.returncode == code, done.stderr
        done = run_in_new_python("plan", "s3://cells/a.h5ad", "s3://no/out", *flags)
        assert done.returncode == 2
        assert "s3://no/out: the bucket or container does not exist" in done.stderr
    finally:
        server.stop()


@pytest.mark.parametrize("failing", [False, True])
def test_files_are_closed_after_the_block(small_h5ad: Path, tmp_path: Path, failing: bool) -> None:
    url = f"memory://{tmp_path.name}/a.h5ad"
    fsspec.filesystem("memory").put(str(small_h5ad), url)
    for place in (str(small_h5ad), url):
        before = n_open_files()
        try:
            with open_source(place):
                assert n_open_files() > before
                assert 1 / (not failing)
        except ZeroDivisionError:
            assert failing
        assert n_open_files() == before


def n_open_files() -> int:
    return int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))
