"""Objects a second, and what each costs the client's CPU, by every way into a store.

``python -m tests.benchmarks.objects`` writes and reads objects of the size of genes on radosgw,
moto, fake-gcs-server and azurite, as far as they are installed: by ``fs.pipe`` and ``fs.cat``, and
as an export does, by fsspec and by obstore. ``--cells N --genes N`` exports an atlas instead: from
a local disk to a local disk, from there to S3, and from S3 to S3.

Client and server share the machine; the CPU is that of the client alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellucid_dask
from cellucid_dask.store.client import Client
from cellucid_dask.store.fsspec_client import FsspecClient, for_botocore
from cellucid_dask.store.target import Target
from cellucid_dask.store.transfer import content_type, fetch_ranges
from cellucid_dask.store.uploads import Uploads
from tests.benchmarks.data import dataset
from tests.services.stores import servers
from tests.services.stores.servers import Store

ROUNDS = 3
Way = Callable[[dict[str, bytes]], Any]


def cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(call: Callable[[], Any]) -> tuple[float, float]:
    """Call, and return the seconds it took and the CPU it cost here."""
    before, began = cpu(), time.perf_counter()
    call()
    return time.perf_counter() - began, cpu() - before


@contextmanager
def moto_elsewhere() -> Iterator[Store]:
    """S3 by moto, in a process of its own."""
    port = servers.free_port()
    with servers.running([sys.executable, "-m", "moto.server", "-p", str(port)], port):
        options = {"key": "a", "secret": "b", "endpoint_url": f"http://127.0.0.1:{port}"}
        make = servers.make_by_fsspec("s3", options)
        yield Store("moto", "s3", options["endpoint_url"], options, make)


SERVERS = {
    "radosgw": servers.ceph, "moto": moto_elsewhere, "fake-gcs-server": servers.gcs,
    "azurite": servers.azure,
}  # fmt: skip


def write(client: Client, files: dict[str, bytes]) -> None:
    with Uploads(client) as out:
        for path, data in files.items():
            out.put(path, data, content_type(path))


def read(client: Client, files: dict[str, bytes]) -> None:
    found = fetch_ranges(client, [(path, 0, len(data)) for path, data in files.items()])
    assert [len(each) for each in found] == [len(each) for each in files.values()]


def compare(name: str, store: Store, n_objects: int, n_bytes: int) -> None:
    """Write and read objects in every way, and print a line for each."""
    data = np.random.default_rng(0).bytes(n_bytes)
    rows: dict[str, list[list[float]]] = {}
    fs = store.fs
    for _ in range(ROUNDS):
        bucket = store.bucket()
        for way, (put, get) in ways(store, bucket).items():
            folder = f"{bucket.partition('://')[2]}/{way.replace(' ', '-')}"
            files = {f"{folder}/{number}.gz": data for number in range(n_objects)}
            put({f"{folder}/first.gz": data})
            row = [*measured(partial(put, files)), *measured(partial(get, files))]
            rows.setdefault(way, []).append(row)
        fs.rm(bucket, recursive=True)
    for way, measurements in rows.items():
        puts, put_cpu, gets, get_cpu = np.median(measurements, axis=0)
        print(
            f"{name:16} {way:12} {n_objects / puts:5.0f} PUT/s {1e3 * put_cpu / n_objects:5.2f} ms "
            f"{n_objects / gets:5.0f} GET/s {1e3 * get_cpu / n_objects:5.2f} ms",
            flush=True,
        )


def ways(store: Store, bucket: str) -> dict[str, tuple[Way, Way]]:
    """Return, by name, what writes files into a bucket and what reads them."""
    fs = store.fs
    options = for_botocore(store.options) if store.protocol == "s3" else store.options
    found: dict[str, tuple[Way, Way]] = {"fs.pipe": (fs.pipe, lambda files: fs.cat(list(files)))}
    ours = FsspecClient(type(fs)(**options)), Target.of(f"{bucket}/x", store.options).client
    for client in ours:
        way = "by fsspec" if isinstance(client, FsspecClient) else "by obstore"
        found[way] = partial(write, client), partial(read, client)
    return found


def export(cells: int, genes: int) -> None:
    """Export an atlas between disks and a bucket, and print the seconds it takes."""
    with servers.ceph() as store, tempfile.TemporaryDirectory() as folder:
        source, bucket = dataset(Path(folder), cells, genes), store.bucket()
        store.fs.put(str(source), f"{bucket}/{source.name}")
        options = {"storage_options": store.options, "progress": False}
        places: dict[str, tuple[str, str, dict[str, Any]]] = {
            "disk to disk": (str(source), f"{folder}/out", {"progress": False}),
            "disk to S3": (str(source), f"{bucket}/out", options),
            "S3 to S3": (
                f"{bucket}/{source.name}", f"{bucket}/out2",
                {**options, "source_storage_options": store.options},
            ),
        }  # fmt: skip
        for way, (here, there, each) in places.items():
            seconds, used = measured(partial(cellucid_dask.export, here, there, **each))
            print(f"{way:14} {seconds:6.1f} s, {used:6.1f} s of CPU", flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--server", choices=SERVERS, action="append")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--genes", type=int, default=4_000)
    given = parser.parse_args()
    if given.cells:
        export(given.cells, given.genes)
        return
    for name in given.server or SERVERS:
        try:
            with SERVERS[name]() as store:
                compare(name, store, given.objects, given.bytes)
        except pytest.skip.Exception as missing:
            print(f"{name:16} {missing}")


if __name__ == "__main__":
    main()
