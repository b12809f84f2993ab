"""The files of deploy/, as far as they can be checked without their platforms."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from cellucid_dask.runtime.certificates import write_certificates
from tests.helpers import ROOT, tree_bytes

DEPLOY = ROOT / "deploy"


def _yaml(path: Path) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(path.read_text()))


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _check(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("compose-spec", "deploy/docker/compose.yaml"),
        ("citation-file-format", "CITATION.cff"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/bug.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/idea.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_yaml_fits_its_published_schema(schema: str, path: str) -> None:
    tool = _tool("check-jsonschema")
    _check([tool, "--builtin-schema", f"vendor.{schema}", ROOT / path])


def test_dask_job_fits_the_operators_own_definition() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    charts = Path(found.origin).parent / "operator/deployment/helm"
    (definition,) = _yaml(charts / "dask-kubernetes-operator/crds/daskjob.yaml")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    (job,) = _yaml(DEPLOY / "kubernetes/export.yaml")
    assert (job.pop("kind"), job.pop("apiVersion")) == ("DaskJob", "kubernetes.dask.org/v1")
    del job["metadata"]  # of which Kubernetes itself knows the form
    validator = jsonschema.Draft7Validator(_closed(schema))
    told = [f"{list(each.path)}: {each.message[:200]}" for each in validator.iter_errors(job)]
    assert not told
    with_typo = json.loads(json.dumps(job))
    with_typo["spec"]["cluster"]["spec"]["worker"]["replica"] = 4
    assert list(validator.iter_errors(with_typo))


def _closed(schema: Any) -> Any:
    """Refuse properties that the schema does not name, as Kubernetes would drop them."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and "type" in schema
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def test_pods_agree_on_image_account_and_name() -> None:
    (job,) = _yaml(DEPLOY / "kubernetes/export.yaml")
    (account,) = _yaml(DEPLOY / "kubernetes/identity.yaml")
    cluster = job["spec"]["cluster"]["spec"]
    pods = [job["spec"]["job"]["spec"], cluster["worker"]["spec"], cluster["scheduler"]["spec"]]
    assert {pod["serviceAccountName"] for pod in pods} == {account["metadata"]["name"]}
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    assert all(pod["containers"][0]["securityContext"]["runAsNonRoot"] for pod in pods)
    selector = cluster["scheduler"]["service"]["selector"]
    assert selector["dask.org/cluster-name"] == job["metadata"]["name"]
    waited = re.search(r"wait_for_workers\((\d+)", pods[0]["containers"][0]["args"][0])
    assert waited
    assert int(waited[1]) == cluster["worker"]["replicas"]


def test_dockerfile_is_pinned_and_not_root() -> None:
    lines = (DEPLOY / "docker/Dockerfile").read_text().splitlines()
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert len(images) == 2
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in images)
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    pinned = _pinned("requirements.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = sum(
        (extras[name] for name in ("cluster", "s3", "gcs", "azure")),
        project["project"]["dependencies"],
    )
    for text in wanted:
        needed = Requirement(text)
        assert pinned[needed.name] in needed.specifier
    to_build = _pinned("build-requirements.txt")
    for text in [*project["build-system"]["requires"], "ziglang"]:
        needed = Requirement(text)
        assert to_build[needed.name] in needed.specifier


def _pinned(name: str) -> dict[str, str]:
    """Return the version of each package, all of which have hashes; and no index is named."""
    text = (DEPLOY / "docker" / name).read_text().replace("\\\n", " ")
    pinned = {}
    for line in text.splitlines():
        pin, *hashes = line.split()
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes)
        package, version = pin.split("==")
        pinned[package.partition("[")[0]] = version
    return pinned


def test_image_gets_every_file_that_building_it_needs() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    kept = (DEPLOY / "docker/Dockerfile.dockerignore").read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}\n" in kept


def test_dockerfile_passes_hadolint() -> None:
    _check([_tool("hadolint"), DEPLOY / "docker/Dockerfile"])


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sbatch")), ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    _check(["bash", "-n", script])
    _check([_tool("shellcheck"), script])


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.py")), ids=lambda path: path.name)
def test_python_scripts_compile(script: Path) -> None:
    compile(script.read_text(), script.name, "exec")


_SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


@pytest.mark.slow
def test_batch_script_exports_on_a_cluster_of_its_own(tmp_path: Path, small_h5ad: Path) -> None:
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(_SRUN)
    srun.chmod(0o755)
    command = tmp_path / "bin/cellucid-dask"
    command.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -m cellucid_dask "$@"\n')
    command.chmod(0o755)
    path = [str(srun.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {
        "PATH": ":".join(path),
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_MEM_PER_NODE": "2048",
    }
    done = subprocess.run(
        ["bash", DEPLOY / "slurm/export.sbatch", small_h5ad, "by_slurm", "--created-at",
         "2026-01-01T00:00:00Z", "--dataset-name", "x"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tls://" in done.stderr
    assert "tcp://" not in done.stderr
    assert not list(tmp_path.glob(".cellucid-cluster-*"))
    subprocess.run(
        [command, "export", small_h5ad, "alone", "--created-at", "2026-01-01T00:00:00Z",
         "--dataset-name", "x"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert tree_bytes(tmp_path / "by_slurm") == tree_bytes(tmp_path / "alone")


@pytest.mark.slow
def test_a_scheduler_with_certificates_accepts_nobody_without(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "cellucid_dask.runtime.certificates"]
    subprocess.run([*made, tmp_path / "tls"], check=True, cwd=ROOT)
    files = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "tls").iterdir()}
    assert files == {"cert.pem": 0o600, "key.pem": 0o600, "dask.yaml": 0o600}
    address = tmp_path / "scheduler.json"
    command = [_tool("dask"), "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port",
               "0", "--no-dashboard", "--scheduler-file", address]  # fmt: skip
    with_it = os.environ | {"DASK_CONFIG": str(tmp_path / "tls/dask.yaml")}
    scheduler = subprocess.Popen(command, env=with_it, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not address.exists():
            assert time.monotonic() < deadline, "the scheduler does not begin"
            time.sleep(0.1)
        told = json.loads(address.read_text())["address"]
        assert told.startswith("tls://")
        ask = f"from distributed import Client; Client({told!r}, timeout=5); print('let in')"
        other = [*made, tmp_path / "others"]
        subprocess.run(other, check=True, cwd=ROOT)
        of_others = os.environ | {"DASK_CONFIG": str(tmp_path / "others/dask.yaml")}
        said = [
            subprocess.run(
                [sys.executable, "-c", ask], env=env, capture_output=True, text=True, check=False
            ).stdout
            for env in (with_it, dict(os.environ), of_others)
        ]
    finally:
        scheduler.terminate()
        scheduler.wait(20)
    assert said == ["let in\n", "", ""]


def test_seen_as_another_folder(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    write_certificates(tmp_path / "tls", "/tls")
    comm = yaml.safe_load((tmp_path / "tls/dask.yaml").read_text())["distributed"]["comm"]
    assert comm["require-encryption"] is True
    assert {each["key"] for role, each in comm["tls"].items() if role != "ca-file"} == {
        "/tls/key.pem"
    }


def test_everything_that_listens_speaks_tls() -> None:
    (job,) = _yaml(DEPLOY / "kubernetes/export.yaml")
    cluster = job["spec"]["cluster"]["spec"]
    for pod in (
        job["spec"]["job"]["spec"],
        cluster["worker"]["spec"],
        cluster["scheduler"]["spec"],
    ):
        (container,) = pod["containers"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert variables["DASK_SCHEDULER_ADDRESS"].startswith("tls://")
        assert variables["DASK_CONFIG"] == "/tls/dask.yaml"
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted["certificates"] == "/tls"
        assert "certificates" in {each["name"] for each in pod["volumes"]}
    (compose,) = _yaml(DEPLOY / "docker/compose.yaml")
    services = compose["services"]
    for name in ("scheduler", "worker", "export"):
        assert services[name]["environment"]["DASK_CONFIG"] == "/tls/dask.yaml"
        assert "tls:/tls:ro" in services[name]["volumes"]
    for file in (path for path in DEPLOY.rglob("*") if path.is_file()):
        assert "tcp://" not in file.read_text(), file
