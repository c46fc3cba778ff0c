"""The Dockerfile and compose.yaml as they are written, and that they agree with the task definition."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import yaml

from tests.cloudformation.conftest import TOOLS
from tests.cloudformation.resolving import resources
from tests.docker.conftest import ROOT

DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())


def container() -> dict[str, Any]:
    service, *_ = resources("service")["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert isinstance(service, dict)
    return service


def test_hadolint_has_no_findings() -> None:
    done = subprocess.run(
        [TOOLS / "hadolint", "--failure-threshold", "warning", ROOT / "docker/Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_base_is_pinned_by_digest_and_can_be_given() -> None:
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE_IMAGE}", "libraries"}


def test_image_has_the_library_that_lightgbm_needs() -> None:
    assert "cp /usr/lib/*-linux-gnu/libgomp.so.1 /build/" in DOCKERFILE
    assert "COPY --from=libraries /build/libgomp.so.1 /usr/lib/libgomp.so.1" in DOCKERFILE


def test_image_has_the_locale_of_text_operators() -> None:
    assert "--inputfile en_US --charmap UTF-8 /usr/lib/locale/en_US.utf8" in DOCKERFILE
    assert "COPY --from=locale /usr/lib/locale/en_US.utf8 /usr/lib/locale/en_US.utf8" in DOCKERFILE


def test_libraries_are_the_locked_ones() -> None:
    assert "ARG LOCKS=requirements.txt\n" in DOCKERFILE
    assert "python requirements/install.py /venv ${LOCKS} ${OWN}" in DOCKERFILE
    assert "ARG OWN=\n" in DOCKERFILE


def test_image_and_task_agree_on_user_and_port() -> None:
    task = container()
    assert f"USER {task['User']}" in DOCKERFILE
    assert f"EXPOSE {task['PortMappings'][0]['ContainerPort']}" in DOCKERFILE
    command = re.search(r'HEALTHCHECK .* CMD \["(.*)"\]', DOCKERFILE)
    assert command
    assert task["HealthCheck"]["Command"][1:] == command[1].split('", "')


def test_every_file_that_the_image_copies_is_let_through() -> None:
    ignored = (ROOT / "docker/Dockerfile.dockerignore").read_text()
    for source in (
        "requirements.txt",
        "requirements/install.py",
        "requirements/uv.txt",
        "requirements/otel.txt",
        "requirements/signing.txt",
        "requirements/encoders.txt",
        "requirements/own.in",
        "own",
        "docker/rds-ca.pem",
        "manage.py",
        "gunicorn.conf.py",
        "models_registry",
        "mlapi",
    ):
        assert (ROOT / source).exists()
        assert f"!{source}\n" in ignored
    for script in re.findall(r"docker/\w+\.py", DOCKERFILE):
        assert (ROOT / script).exists()


def test_compose_runs_the_service_as_the_task_does() -> None:
    service = COMPOSE["services"]["service"]
    assert service["read_only"] is True
    assert service["cap_drop"] == container()["LinuxParameters"]["Capabilities"]["Drop"]
    assert service["stop_grace_period"] == f"{container()['StopTimeout']}s"
    assert service["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]


def test_compose_builds_this_image_and_waits_for_its_database() -> None:
    service = COMPOSE["services"]["service"]
    assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
        ROOT / "docker/Dockerfile"
    )
    assert set(service["depends_on"]) == {"database"}


def test_compose_keeps_data_in_writable_volumes() -> None:
    """A volume that is made anew takes the owner of the image's directory."""
    services = COMPOSE["services"]
    assert set(COMPOSE["volumes"]) == {"database", "data"}
    assert services["database"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert services["service"]["volumes"] == ["data:/data"]
    assert "tmpfs" not in services["database"]
    made = re.search(r"install -d -o 10001 -g 10001 (.*)", DOCKERFILE)
    assert made is not None
    environment = services["service"]["environment"]
    kept = {environment[name] for name in ("MODELS_STORAGE", "MODELS_LOG_STORAGE", "MODELS_CACHE")}
    assert {path.removeprefix("file://") for path in kept} | {"/data"} == set(made[1].split())
