"""A run that was stopped anywhere is finished by the next, with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import dask
import fsspec
import numpy as np
import pytest
from scipy import sparse

import cellucid_dask
from cellucid_dask.store.target import Target, Writer
from tests.helpers import SETTINGS, tree_bytes
from tests.viewer_reader import check, read_export

WRITES = ((Writer, "put"), (Target, "publish"), (Target, "create"), (Target, "remove"))


def make(storage: str, seed: int = 0, n_cells: int = 2000, n_genes: int = 24) -> ad.AnnData:
    generator = np.random.default_rng(seed)
    matrix = sparse.random(n_cells, n_genes, 0.2, "csr", np.float32, random_state=generator)
    adata = ad.AnnData(
        matrix.asformat(storage), obsm={"X_umap": generator.random((n_cells, 2), np.float32)}
    )
    adata.obs["kind"] = generator.choice(["a", "b"], n_cells)
    return adata


@pytest.fixture(scope="module", params=["csr", "csc"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One source a route: row-major through scratch, gene-major straight."""
    path = tmp_path_factory.mktemp("source") / f"{request.param}.h5ad"
    make(request.param, n_cells=3000, n_genes=60).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture(scope="module")
def csr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "a.h5ad"
    make("csr").write_h5ad(path, compression="gzip")
    return path


def export(source: Any, target: Any, **options: Any) -> cellucid_dask.ExportResult:
    return cellucid_dask.export(source, target, **{**SETTINGS, **options})


def crash(source: Any, target: Path, at: int, **options: Any) -> bool:
    """Export in a process that dies as its write number `at` begins; say whether it died."""
    child = os.fork()
    if child == 0:
        calls = iter(range(at))
        for kind, name in WRITES:
            setattr(kind, name, _dying(getattr(kind, name), calls))
        try:
            with dask.config.set(scheduler="sync"):
                export(source, target, **{"memory_budget": "7MiB", **options})  # many blocks
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def is_over(target: Path) -> bool:
    """Whether the run came to its end, so that there is nothing to resume."""
    record = target / ".cellucid-dask" / "run.json"
    return (target / "dataset_identity.json").exists() and not record.exists()


def _dying(write: Callable[..., Any], calls: Iterator[int]) -> Callable[..., Any]:
    def wrapper(*arguments: Any) -> Any:
        if next(calls, None) is None:
            os._exit(9)
        return write(*arguments)

    return wrapper


def moments(run: Callable[[int], bool], step: int = 1) -> int:
    """Run with a crash at every write, until one gets through; return the number of writes."""
    at = 0
    while run(at):
        at += step
    return at


def test_stopped_at_any_write(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    assert not list((tmp_path / "whole").glob(".*"))

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        died = crash(source, target, at)
        if (target / "dataset_identity.json").exists():
            assert tree_bytes(target).items() >= whole.items()
        if not died or is_over(target):
            return died
        export(source, target, resume=True)
        assert tree_bytes(target) == whole
        assert not list(target.glob(".*"))
        return True

    assert moments(run, step=3) > 60
    check(tmp_path / "0")


@pytest.mark.slow
def test_force_stopped_at_any_write(csr: Path, tmp_path: Path) -> None:
    older = make("csr", seed=1, n_genes=30)
    export(older, tmp_path / "older", var_quantization=16)
    export(csr, tmp_path / "newer")
    before, after = tree_bytes(tmp_path / "older"), tree_bytes(tmp_path / "newer")

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        export(older, target, var_quantization=16)
        died = crash(csr, target, at, force=True)
        there = tree_bytes(target)
        if "dataset_identity.json" in there:
            identity = there["dataset_identity.json"]
            whole = before if identity == before["dataset_identity.json"] else after
            assert there.items() >= whole.items()
        export(csr, target, **({"force": True} if is_over(target) else {"resume": True}))
        assert tree_bytes(target) == after
        return died

    assert moments(run) > 10


def check_promised(target: Path, copy: Path) -> None:
    """Check an export apart from what a run has begun to add to it."""
    export = read_export(target)
    there = export.promised_files()
    if export.identity["stats"]["n_genes"] == 0:  # it changes just before or after the manifest
        there = {name for name in there if not name.startswith("var")}
    for name in there:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target / name, copy / name)
    check(copy)


@pytest.mark.slow
@pytest.mark.parametrize("replace", [False, True])
def test_genes_only_stopped_at_any_write(csr: Path, tmp_path: Path, *, replace: bool) -> None:
    export(csr, tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    without = ad.AnnData(obs=make("csr").obs, obsm=dict(make("csr").obsm))

    def run(at: int) -> bool:
        target = tmp_path / str(at)
        if replace:
            export(csr, target, gene_identifiers=["3", "5"])
        else:
            export(without, target)
        died = crash(csr, target, at, genes_only=True, force=replace)
        check_promised(target, tmp_path / f"{at}-promised")  # with genes or without
        begun = (target / ".cellucid-dask" / "run.json").exists()
        export(csr, target, genes_only=True, resume=begun, force=not begun)
        found = tree_bytes(target)
        assert found.keys() == whole.keys()
        assert json.loads(found["dataset_identity.json"])["stats"]["n_genes"] == 24
        assert {k: v for k, v in found.items() if "var" in k} == {
            k: v for k, v in whole.items() if "var" in k
        }
        check(target)
        return died

    assert moments(run) > 10


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    make("csr", n_cells=30_000, n_genes=300).write_h5ad(path)
    began = time.perf_counter()
    export(path, tmp_path / "whole")
    lasted = time.perf_counter() - began
    whole = tree_bytes(tmp_path / "whole")
    chance, killed = np.random.default_rng(0), 0
    for turn in range(20):
        target = tmp_path / str(turn)
        child = os.fork()
        if child == 0:
            with dask.config.set(scheduler="sync"):
                export(path, target)
            os._exit(0)
        time.sleep(chance.uniform(0, lasted))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        if not is_over(target):
            export(path, target, resume=True)
        assert tree_bytes(target) == whole
    assert killed > 3


def stopped(source: Any, target: Path, **options: Any) -> Path:
    """Leave a run that has encoded some genes and not all."""
    at = 8
    while True:
        assert crash(source, target, at, **options)
        if len(list(target.glob(".cellucid-dask/receipts/*"))) >= 1:
            return target
        at += 1
        options.setdefault("resume", True)


def test_finished_genes_are_not_made_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = stopped(source, tmp_path / "out")
    done = {
        file
        for receipt in target.glob(".cellucid-dask/receipts/*")
        for file in json.loads(receipt.read_text())["files"]
    }
    assert 0 < len(done) < 60
    broken, lost, *_ = sorted(done)
    (target / broken).write_bytes((target / broken).read_bytes()[:-1])
    (target / lost).unlink()
    written: set[str] = set()
    put = Writer.put

    def note(self: Writer, name: str, data: bytes) -> None:
        written.update([name] if name.startswith("var/") else [])
        put(self, name, data)

    monkeypatch.setattr(Writer, "put", note)
    result = export(source, target, resume=True)
    assert written & done == {broken, lost}
    assert len(written | done) == result.n_genes == 60
    check(target)


def test_resumes_with_other_means(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "whole")
    target = stopped(source, tmp_path / "out", memory_budget="9MiB")
    with dask.config.set(scheduler="processes", num_workers=2):
        export(source, target, resume=True, memory_budget="64MiB")
    assert tree_bytes(target) == tree_bytes(tmp_path / "whole")


def test_resumes_from_memory(tmp_path: Path) -> None:
    target = stopped(make("csr"), tmp_path / "out")
    with pytest.raises(cellucid_dask.RequestError, match="another source"):
        export(make("csr", seed=1), target, resume=True)
    assert export(make("csr"), target, resume=True).n_genes == 24
    check(target)


def test_only_the_same_export_is_resumed(
    csr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = stopped(csr, tmp_path / "out")
    before = tree_bytes(target)
    with pytest.raises(cellucid_dask.RequestError, match="another var_quantization"):
        export(csr, target, resume=True, var_quantization=16)
    with pytest.raises(cellucid_dask.RequestError, match="--resume"):
        export(csr, target)
    with pytest.raises(cellucid_dask.RequestError, match="either force"):
        export(csr, target, resume=True, force=True)
    os.utime(csr, (1, 1))
    with pytest.raises(cellucid_dask.RequestError, match="its file has changed"):
        export(csr, target, resume=True)
    monkeypatch.setattr("cellucid_dask.engine.resume.__version__", "99")
    with pytest.raises(cellucid_dask.RequestError, match="this is 99"):
        export(csr, target, resume=True)
    assert tree_bytes(target) == before
    export(csr, target, force=True)
    check(target)


def test_the_record_holds_no_secrets(csr: Path, tmp_path: Path) -> None:
    target = stopped(csr, tmp_path / "out", storage_options={"secret": "hunter2"})
    left = b"".join(path.read_bytes() for path in target.glob(".cellucid-dask/**/*.json"))
    assert left
    assert b"hunter2" not in left
    assert str(csr).encode() not in left


def test_nothing_to_resume(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(csr, target, resume=True)  # a batch script may always say it
    before = tree_bytes(target)
    with pytest.raises(cellucid_dask.RequestError, match="nothing to resume"):
        export(csr, target, resume=True)
    assert tree_bytes(target) == before


def test_resumes_in_a_store(csr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{tmp_path.name}"
    export(csr, f"{url}/whole")
    put = Writer.put

    def fail(self: Writer, name: str, data: bytes) -> None:
        with self._target._failing_plainly():
            if "values" in name and fs.exists(f"/{tmp_path.name}/out/var"):
                raise OSError("out of order")
        put(self, name, data)

    fs = fsspec.filesystem("memory")
    monkeypatch.setattr(Writer, "put", fail)
    with (
        dask.config.set(scheduler="sync"),
        pytest.raises(cellucid_dask.ExportError, match="--resume"),
    ):
        export(csr, f"{url}/out")
    assert not fs.exists(f"/{tmp_path.name}/out/dataset_identity.json")
    assert fs.exists(f"/{tmp_path.name}/out/.cellucid-dask/run.json")
    assert not fs.exists(f"/{tmp_path.name}/out/.cellucid-dask/lease.json")
    monkeypatch.undo()
    export(csr, f"{url}/out", resume=True)
    found, whole = (fs.find(f"/{tmp_path.name}/{name}") for name in ("out", "whole"))
    assert [fs.cat(name) for name in found] == [fs.cat(name) for name in whole]


def lease(target: Path, **owner: Any) -> Path:
    path = target / ".cellucid-dask" / "lease.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"token": "t", "host": "elsewhere", "pid": 1, "started": 1, **owner})
    )
    return path


def test_second_run_is_refused(csr: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    path = lease(target, expires=time.time() + 60)
    with pytest.raises(cellucid_dask.RequestError, match="process 1 on elsewhere"):
        export(csr, target, force=True)
    assert [path] == [each for each in target.rglob("*") if each.is_file()]
    path.write_text(path.read_text().replace("elsewhere", os.uname().nodename))
    export(csr, target)  # process 1 of this host did not start in 1970
    check(target)
    assert not path.exists()


@pytest.mark.parametrize("state", ["expired", "broken"])
def test_dead_lease_is_taken(csr: Path, tmp_path: Path, state: str) -> None:
    path = lease(tmp_path / "out", expires=time.time() - 1)
    if state == "broken":
        path.write_text('{"tok')
    export(csr, tmp_path / "out")
    check(tmp_path / "out")


def test_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path, target = tmp_path / "a.h5ad", tmp_path / "out"
    make("csr", n_cells=60_000, n_genes=300).write_h5ad(path)
    command = [sys.executable, "-m", "cellucid_dask", "export", str(path), str(target)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (target / ".cellucid-dask" / "run.json").exists():
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)
    try:
        for option in ("force", "resume"):
            with pytest.raises(cellucid_dask.RequestError, match="by another run"):
                export(path, target, **{option: True})
    finally:
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    check(target)


def test_run_that_lost_its_target_does_not_publish(
    csr: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Target.put

    def steal(self: Target, files: dict[str, bytes]) -> None:
        held = tmp_path / "out" / ".cellucid-dask" / "lease.json"
        held.write_text(json.dumps({**json.loads(held.read_text()), "token": "another"}))
        put(self, files)

    monkeypatch.setattr(Target, "put", steal)
    with pytest.raises(cellucid_dask.ExportError, match="taken"):
        export(csr, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))
