"""A Ceph cluster of one monitor, one OSD in memory and one S3 gateway, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {d}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 1G
osd data = {d}/osd0
mon data = {d}/mon
run dir = {d}/run
admin socket = {d}/run/$name.asok
pid file = {d}/run/$name.pid
log file = {d}/log/$name.log
ms bind ipv6 = false
[client.rgw]
keyring = {d}/keyring
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {d}/rgw
log file = {d}/log/rgw.log
"""

USERS = {"t": ("AKIDTEST", "ceph-secret-value"), "other": ("AKIDOTHER", "other-secret-value")}


@contextmanager
def start(folder: Path) -> Iterator[str]:
    """Run the cluster until the block ends; return the address of the gateway."""
    from tests.services.stores.servers import free_port

    for name in ("mon", "osd0", "run", "log", "rgw"):
        (folder / name).mkdir()
    fsid, osd, port, v1, v2 = uuid.uuid4(), uuid.uuid4(), free_port(), free_port(), free_port()
    conf, ring = str(folder / "ceph.conf"), str(folder / "keyring")
    Path(conf).write_text(CONF.format(fsid=fsid, d=folder, port=port, v1=v1, v2=v2))
    servers: list[subprocess.Popen[bytes]] = []

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def serve(*command: str) -> None:
        servers.append(
            subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )  # fmt: skip

    def key(name: str, **caps: str) -> None:
        flags = [each for who, what in caps.items() for each in ("--cap", who, what)]
        run("ceph-authtool", ring, "--gen-key", "-n", name, *flags)

    try:
        run("ceph-authtool", "--create-keyring", ring, "--gen-key", "-n", "mon.",
            "--cap", "mon", "allow *")  # fmt: skip
        key("client.admin", mon="allow *", osd="allow *", mgr="allow *")
        key("osd.0", mon="allow profile osd", osd="allow *", mgr="allow profile osd")
        key("client.rgw", mon="allow rwx", osd="allow rwx", mgr="allow rw")
        run("monmaptool", "--create", "--fsid", str(fsid), "--addv", "a",
            f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]", str(folder / "monmap"))  # fmt: skip
        run("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"),
            "--keyring", ring)  # fmt: skip
        serve("ceph-mon", "-c", conf, "-f", "-i", "a")
        _wait(lambda: _says(("ceph", "-c", conf, "-s"), ""))
        run("ceph", "-c", conf, "osd", "new", str(osd), "0")
        run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", str(osd))
        serve("ceph-osd", "-c", conf, "-f", "-i", "0")
        _wait(lambda: _says(("ceph", "-c", conf, "osd", "stat"), "1 up"))
        serve("radosgw", "-c", conf, "-f", "-n", "client.rgw")
        _wait(lambda: _answers(f"http://127.0.0.1:{port}"))
        for user, (access, secret) in USERS.items():
            who = [f"--uid={user}", f"--display-name={user}"]
            keys = [f"--access-key={access}", f"--secret={secret}"]
            run("radosgw-admin", "-c", conf, "user", "create", *who, *keys)
        yield f"http://127.0.0.1:{port}"
    finally:
        for server in reversed(servers):
            server.terminate()
        for server in servers:
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)
                server.wait()


def _says(command: tuple[str, ...], words: str) -> bool:
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return False
    return found.returncode == 0 and words in found.stdout


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _wait(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "Ceph does not start"
        time.sleep(0.2)
