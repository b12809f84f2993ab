"""Exports in processes of their own, which can be paused and killed; and what they left."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import anndata as ad
import dask
import fsspec

import cellucid_dask
from cellucid_dask.engine import commit
from cellucid_dask.store.lease import acquire_lease
from cellucid_dask.store.target import RUN_DIR
from tests.helpers import PROCESSES, SETTINGS, Tree, tree_bytes
from tests.services.stores import servers
from tests.viewer_reader import check

_CLONE_NEWUTS = 0x04000000


@dataclass(frozen=True)
class Place:
    """Where an export goes, its scratch and its format, and how many processes work on it."""

    name: str
    url: str
    scratch: str
    options: dict[str, Any] = field(default_factory=dict)
    fs: Any = None
    more: dict[str, Any] = field(default_factory=lambda: {"latent": "X_umap"})
    n_processes: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        return {
            **SETTINGS, "memory_budget": "6MiB", "scratch": self.scratch,
            "storage_options": self.options, **self.more,
        }  # fmt: skip

    @property
    def announcements(self) -> tuple[str, ...]:
        """Names of the files that readers look for; only what is whole has the first."""
        is_zarr = self.more.get("format") == "cellucid-zarr"
        return (".zmetadata",) if is_zarr else ("dataset_identity.json", "obs_manifest.json")

    def tree(self) -> Tree:
        """Read all that is there, scratch too."""
        return {**_tree(self, self.url), **_tree(self, self.scratch)}


def _tree(place: Place, url: str) -> Tree:
    """Read the files below a folder, by relative name; an empty folder is one too."""
    if "://" not in url:
        folder = Path(url)
        empty = [each for each in folder.rglob("*") if each.is_dir() and not any(each.iterdir())]
        return tree_bytes(folder) | {f"{each.relative_to(folder)}/": b"" for each in empty}
    place.fs.invalidate_cache()
    root = url.partition("://")[2]
    return {name.removeprefix(f"{root}/"): place.fs.cat_file(name) for name in place.fs.find(root)}


@contextmanager
def places(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield functions that make a new place, by its kind."""

    def local(name: str) -> Place:
        (folder / f"{name}-scratch").mkdir(parents=True)
        return Place("local", str(folder / name), str(folder / f"{name}-scratch"))

    with servers.moto() as store:
        bucket, fs = store.bucket(), store.fs

        def in_s3(name: str) -> Place:
            scratch = local(name).scratch
            return Place("S3", f"{bucket}/{name}", scratch, store.options, fs)

        def by_s3fs(name: str) -> Place:
            return replace(in_s3(name), name="S3 by s3fs", options=store.by_fsspec().options)

        def scratch_in_s3(name: str) -> Place:
            scratch = f"{bucket}/{name}-scratch"
            return Place("local, scratch in S3", local(name).url, scratch, store.options, fs)

        def as_zarr(new: Any, **how: Any) -> Any:
            more = {"format": "cellucid-zarr", "connectivities": "connectivities"}
            return lambda name: replace(new(name), more=more, **how)

        yield {
            "local": local,
            "S3": in_s3,
            "local, scratch in S3": scratch_in_s3,
            "S3 by s3fs": by_s3fs,
            "Zarr": as_zarr(local, name="Zarr"),
            "Zarr in S3": as_zarr(in_s3, name="Zarr in S3"),
            "Zarr, 2 processes": as_zarr(local, name="Zarr, 2 processes", n_processes=2),
        }


def usual(source: Path, new: Any, name: str) -> tuple[float, Tree]:
    """Export twice; return how long the second wrote until it published, and what it wrote."""
    for turn in range(2):
        run = Run(source, place := new(f"{name}-{turn}"))
        run.wait_until_it_writes()
        began = time.monotonic()
        run.wait_for(place.announcements[0])
        lasted = time.monotonic() - began
        assert (ended := run.end()) == "done", ended
    return lasted, place.tree()


class Run:
    """An export in a process of its own.

    Parameters
    ----------
    source, place, options
        Of the export.
    valid_for
        Seconds, of its lease.
    elsewhere
        Whether its host has another name, so that it cannot know whether processes run here.
    """

    def __init__(
        self,
        source: Path,
        place: Place,
        *,
        valid_for: float = 90.0,
        elsewhere: bool = False,
        **options: Any,
    ) -> None:
        self._place = place
        self._answers, answer = PROCESSES.Pipe(duplex=False)
        settings = {**place.settings, **options}
        arguments = (source, place, settings, valid_for, elsewhere, answer)
        self._process = PROCESSES.Process(target=_export, args=arguments)
        self._process.start()
        answer.close()
        self._answers.recv()  # it has begun

    def wait_until_it_writes(self) -> None:
        """Wait for its record in the target, or its end."""
        self.wait_for(".cellucid-dask/run.json")

    def wait_for(self, name: str) -> None:
        """Wait for a file in the target, or the end of the run."""
        is_local = "://" not in self._place.url
        fs = fsspec.filesystem("file") if is_local else self._place.fs
        while self._process.exitcode is None and not fs.exists(f"{self._place.url}/{name}"):
            fs.invalidate_cache()
            time.sleep(0.002)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and to those that it started."""
        if self._process.exitcode is None and self._process.pid is not None:
            os.killpg(self._process.pid, number)

    def end(self, seconds: float = 120) -> str:
        """Wait for the end; return "done", the error's class and text, or the signal."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self.send(signal.SIGKILL)
            self._process.join()
            return "hangs"
        if self._process.exitcode < 0:
            return signal.Signals(-self._process.exitcode).name
        return str(self._answers.recv())


def _export(
    source: Path,
    place: Place,
    options: dict[str, Any],
    valid_for: float,
    elsewhere: bool,
    answer: Any,
) -> None:
    os.setpgid(0, 0)
    if elsewhere:
        ctypes.CDLL(None).unshare(_CLONE_NEWUTS)
        socket.sethostname("elsewhere")
    lease = functools.partial(acquire_lease, valid_for=valid_for)
    workers = {"scheduler": "processes", "num_workers": place.n_processes}
    scheduler = dask.config.set(workers if place.n_processes else {})
    answer.send("begun")
    try:
        with mock.patch.object(commit, "acquire_lease", lease), scheduler:
            cellucid_dask.export(source, place.url, **options)
    except (cellucid_dask.RequestError, cellucid_dask.ExportError) as error:
        answer.send(f"{type(error).__name__}: {error}")
    except BaseException as error:  # noqa: BLE001
        answer.send(f"raw {type(error).__name__}: {error}")
    else:
        answer.send("done")


def faults_of(found: Tree, whole: Tree, copy: Path) -> str:
    """Say what is wrong with an export that looks whole, as ours and another reader see it.

    Parameters
    ----------
    found, whole
        What is there, and what should be.
    copy
        A folder to read it from, without what a run keeps there.
    """
    for name, data in found.items():
        if not name.startswith(RUN_DIR) and not name.endswith("/") and ".tiles" not in name:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(data)
    try:
        report = cellucid_dask.verify(copy)
        if not report.ok:
            return f"verify: {report.findings[0]}"
        if ".zmetadata" in found:
            ad.read_zarr(copy)
        else:
            check(copy)
    except (AssertionError, KeyError, ValueError, OSError, cellucid_dask.ExportError) as error:
        return f"the other reader: {type(error).__name__} {error}"
    finally:
        shutil.rmtree(copy)
    wrong = [name for name, data in whole.items() if found.get(name) != data]
    return f"{len(wrong)} files differ: {wrong[:3]}" if wrong else ""


def difference(found: Tree, whole: Tree) -> str:
    """Say how what is there differs from a whole export, to the last empty folder."""
    odd = [name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)]
    return f"{len(odd)} files are left, lost or differ: {sorted(odd)[:3]}" if odd else ""
