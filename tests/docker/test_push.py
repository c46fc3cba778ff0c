"""`make deploy` with the real build, login and push of the image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cloudformation.conftest import ACCOUNT, REGION, ROOT, Emulator
from tests.docker.conftest import BASE, BUILDAH
from tests.docker.registry import Registry, registry_running

pytestmark = pytest.mark.timeout(1200)

PROJECT = "--set ProjectName=push --set CpuArchitecture=X86_64 --profile cheapest"


def deploy(emulator: Emulator, registry: Registry, tag: str) -> subprocess.CompletedProcess[str]:
    """Deploy as a person does whose only builder is buildah, and to whom the registry is ECR."""
    command = ["make", "deploy", "ENV=dev", f"IMAGE_TAG={tag}", f"ARGS=--base-image {BASE} {PROJECT}"]
    # an engine of Docker's would not see the base that buildah holds
    builder = {
        "DOCKER_HOST": "unix:///nowhere",
        "STORAGE_DRIVER": "overlay",
        "BUILDAH_ISOLATION": "chroot",
        "BUILDAH_LAYERS": "true",
    }
    return subprocess.run(
        registry.inside(*command),
        env=emulator.environment | registry.environment | builder,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_deploy_builds_pushes_and_runs_the_image(emulator: Emulator, image: str, tmp_path: Path) -> None:
    print_password = ("aws", "ecr", "get-login-password", "--region", REGION)
    password = emulator.run(*print_password).stdout.strip()
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    with registry_running(host, password, tmp_path) as registry:
        done = deploy(emulator, registry, "p1")
        # The emulator's ECR does not know what the real registry was given: it is told, and the rollout goes on.
        assert "has no image p1" in done.stderr, (done.stdout + done.stderr)[-5000:]
        repository = emulator.outputs("push-dev-data")["RepositoryUri"].removeprefix(f"{host}/")
        pushed = registry.get(f"{repository}/manifests/p1")
        emulator.client("ecr").put_image(repositoryName=repository, imageManifest=json.dumps(pushed), imageTag="p1")
        done = deploy(emulator, registry, "p1")
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]

    # the very image, with what only Docker's own format keeps
    built = json.loads(subprocess.check_output([*BUILDAH, "inspect", "--type", "image", f"{host}/{repository}:p1"]))
    assert pushed["config"]["digest"] == f"sha256:{built['FromImageID']}"
    assert built["Docker"]["config"]["Healthcheck"]["Test"] == ["CMD", "python", "docker/healthcheck.py"]
    parts = emulator.resources("push-dev-service")
    task = emulator.client("ecs").describe_task_definition(taskDefinition=parts["TaskDefinition"])["taskDefinition"]
    assert [container["image"] for container in task["containerDefinitions"]] == [f"{host}/{repository}:p1"]


def test_a_wrong_password_stops_the_rollout_before_the_service(emulator: Emulator, image: str, tmp_path: Path) -> None:
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    with registry_running(host, "another", tmp_path) as registry:
        done = deploy(emulator, registry, "p2")
    assert done.returncode != 0
    assert f"login --username AWS --password-stdin {host}\nfailed" in done.stderr
    assert "] push-dev-service" not in done.stdout
