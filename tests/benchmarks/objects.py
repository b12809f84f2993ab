"""Objects a second, and what each costs the CPU of client and server, by every way into a store.

``python -m tests.benchmarks.objects`` writes and reads objects of the size of genes: by ``fs.pipe``
and ``fs.cat``, as an export does by fsspec and by obstore, and by rclone and s5cmd; on radosgw,
moto, fake-gcs-server, azurite and ``quick_s3``, as far as they are installed. ``--cells N --genes
N`` exports an atlas instead: between disks, from there to S3, and from S3 to S3. ``--listed N``
lists and removes as many objects, and counts the requests.

Client and server share the machine. The CPU of the servers shows which of both is the limit.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

import cellucid_dask
from cellucid_dask.store.client import Client
from cellucid_dask.store.fsspec_client import FsspecClient, for_botocore
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import content_type, fetch_ranges
from cellucid_dask.store.uploads import Uploads
from tests.benchmarks.data import dataset
from tests.services.stores import servers
from tests.services.stores.proxy import proxied
from tests.services.stores.servers import Store

Way = Callable[[dict[str, bytes]], Any]


class Cost(NamedTuple):
    """Seconds: of the wall clock, of the client's CPU and of the servers'."""

    wall: float
    client: float
    servers: float


def cpu() -> tuple[float, float]:
    """Return the seconds of CPU of this process and commands it ran, and of its servers."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    here = sum(each.ru_utime + each.ru_stime for each in used)
    times = [each.cpu_times() for each in psutil.Process().children(recursive=True)]
    return here, sum(each.user + each.system for each in times)


def measured(call: Callable[[], Any]) -> Cost:
    """Call, and return what it took."""
    (client, server), began = cpu(), time.perf_counter()
    call()
    wall, after = time.perf_counter() - began, cpu()
    return Cost(wall, after[0] - client, after[1] - server)


@contextmanager
def elsewhere(kind: str, *command: str) -> Iterator[Store]:
    """S3 by a Python module, in a process of its own."""
    port = servers.free_port()
    with servers.running([sys.executable, "-m", *command, str(port)], port):
        options = {"key": "a", "secret": "b", "endpoint_url": f"http://127.0.0.1:{port}"}
        make = servers.make_by_fsspec("s3", options) if kind == "moto" else lambda _name: None
        yield Store(kind, "s3", options["endpoint_url"], options, make)


SERVERS: dict[str, Callable[[], Any]] = {
    "quick_s3": partial(elsewhere, "quick_s3", "tests.benchmarks.quick_s3"),
    "radosgw": servers.ceph,
    "moto": partial(elsewhere, "moto", "moto.server", "-p"),
    "fake-gcs-server": servers.gcs,
    "azurite": servers.azure,
}


def write(client: Client, files: dict[str, bytes]) -> None:
    with Uploads(client) as out:
        for path, data in files.items():
            out.put(path, data, content_type(path))


def read(client: Client, files: dict[str, bytes]) -> None:
    found = fetch_ranges(client, [(path, 0, len(data)) for path, data in files.items()])
    assert [len(each) for each in found] == [len(each) for each in files.values()]


def compare(name: str, store: Store, n_objects: int, n_bytes: int, rounds: int) -> None:
    """Write and read objects in every way, and print a line for each."""
    data = np.random.default_rng(0).bytes(n_bytes)
    rows: dict[str, list[tuple[Cost, Cost]]] = {}
    fs = store.fs
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_objects):
            Path(folder, f"{number}.gz").write_bytes(data)
        for _ in range(rounds):
            bucket = store.bucket()
            for way, (put, get) in ways(store, bucket, folder).items():
                prefix = f"{bucket.partition('://')[2]}/{way.replace(' ', '-')}"
                files = {f"{prefix}/{number}.gz": data for number in range(n_objects)}
                rows.setdefault(way, []).append(
                    (measured(partial(put, files)), measured(partial(get, files)))
                )
                assert len(fs.find(prefix)) == n_objects, way
                fs.invalidate_cache()
            fs.rm(bucket, recursive=True)
    for way, costs in rows.items():
        print(
            f"{name:16} {way:12}", *(_shown(n_objects, each) for each in zip(*costs, strict=True))
        )
    sys.stdout.flush()


def _shown(n_objects: int, costs: tuple[Cost, ...]) -> str:
    wall, client, server = np.median(costs, axis=0)
    each = 1e3 / n_objects
    return (
        f"| {n_objects / wall:5.0f}/s, client {each * client:5.2f}, server {each * server:5.2f} ms"
    )


def ways(store: Store, bucket: str, folder: str) -> dict[str, tuple[Way, Way]]:
    """Return, by name, what writes files into a bucket and what reads them."""
    fs = store.fs
    options = for_botocore(store.options) if store.protocol == "s3" else store.options
    found: dict[str, tuple[Way, Way]] = {"fs.pipe": (fs.pipe, lambda files: fs.cat(list(files)))}
    ours = FsspecClient(type(fs)(**options)), Target.of(f"{bucket}/x", store.options).client
    for client in ours:
        way = "by fsspec" if isinstance(client, FsspecClient) else "by obstore"
        found[way] = partial(write, client), partial(read, client)
    if store.protocol == "s3":
        for way in filter(shutil.which, ("rclone", "s5cmd")):
            found[way] = _by_command(way, store, folder)
    return found


def _by_command(way: str, store: Store, folder: str) -> tuple[Way, Way]:
    """Return what copies a folder of files into a bucket, and what copies them out of it."""
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": store.options["key"],
        "AWS_SECRET_ACCESS_KEY": store.options["secret"], "S3_ENDPOINT_URL": store.address,
    }  # fmt: skip
    rclone = [
        "rclone", "copy", "--transfers", "64", "--no-check-dest", "--s3-env-auth", "--s3-provider",
        "Ceph", "--s3-endpoint", store.address, "--s3-no-check-bucket",
    ]  # fmt: skip
    s5cmd = ["s5cmd", "--numworkers", "64", "cp"]

    def run(*command: str) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def prefix(files: dict[str, bytes]) -> str:
        return next(iter(files)).rpartition("/")[0]

    def put(files: dict[str, bytes]) -> None:
        if way == "rclone":
            run(*rclone, folder, f":s3:{prefix(files)}")
        else:
            run(*s5cmd, f"{folder}/*", f"s3://{prefix(files)}/")

    def get(files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as out:
            if way == "rclone":
                run(*rclone, f":s3:{prefix(files)}", out)
            else:
                run(*s5cmd, f"s3://{prefix(files)}/*", f"{out}/")
            assert len(list(Path(out).iterdir())) == len(files)

    return put, get


def export(name: str, cells: int, genes: int, rounds: int) -> None:
    """Export an atlas between disks and a bucket, and print what it takes."""
    costs: dict[str, list[Cost]] = {}
    with SERVERS[name]() as store, tempfile.TemporaryDirectory() as folder:
        source, bucket = dataset(Path(folder), cells, genes), store.bucket()
        there = f"{bucket}/{source.name}"
        store.fs.put(str(source), there)
        options = {"storage_options": store.options, "progress": False, "force": True}
        places: dict[str, tuple[str, str, dict[str, Any]]] = {
            "disk to disk": (str(source), f"{folder}/out", {"progress": False, "force": True}),
            "disk to S3": (str(source), f"{bucket}/out", options),
            "S3 to S3": (
                there, f"{bucket}/out2", {**options, "source_storage_options": store.options},
            ),
        }  # fmt: skip
        for _ in range(rounds):
            for way, (begin, end, each) in places.items():
                call = partial(cellucid_dask.export, begin, end, **each)
                costs.setdefault(way, []).append(measured(call))
        n_objects = len(store.fs.find(f"{bucket}/out"))
    to_disk = np.median(costs["disk to disk"], axis=0)[0]
    for way, found in costs.items():
        wall, client, server = np.median(found, axis=0)
        print(
            f"{name}, {n_objects} objects, {way:13} {wall:6.1f} s ({wall / to_disk:4.2f}x), "
            f"CPU: client {client:6.1f} s, server {server:5.1f} s",
            flush=True,
        )


def listed(name: str, store: Store, n_objects: int) -> None:
    """List and remove objects by either client, and print requests and seconds."""
    url = f"{store.bucket()}/atlas"
    names = [f"var/{number}.gz" for number in range(n_objects)]
    for each in (store, store.by_fsspec()):
        Target.of(url, store.options).put(dict.fromkeys(names, b"1"))
        with proxied(store.address, lambda _number, _method: None) as (address, proxy):
            target = Target.of(url, each.through(address))
            lists = measured(target.tree)
            n_lists = proxy.count
            removes = measured(partial(target.remove, names))
        assert not Target.of(url, store.options).tree()
        print(
            f"{name:16} {type(target.client).__name__:14} {n_objects} objects: listed by {n_lists} "
            f"requests in {lists.wall:.1f} s, removed by {proxy.count - n_lists} in "
            f"{removes.wall:.1f} s",
            flush=True,
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listed", type=int)
    parser.add_argument("--cells", type=int)
    parser.add_argument("--genes", type=int, default=4_000)
    given = parser.parse_args()
    if given.cells:
        for name in given.server or ["quick_s3"]:
            export(name, given.cells, given.genes, given.rounds)
        return
    for name in given.server or (["radosgw"] if given.listed else SERVERS):
        try:
            with SERVERS[name]() as store:
                if given.listed:
                    listed(name, store, given.listed)
                else:
                    compare(name, store, given.objects, given.bytes, given.rounds)
        except pytest.skip.Exception as missing:
            print(f"{name:16} {missing}")


if __name__ == "__main__":
    main()
