"""compose.yaml without an engine: it fits the specification, and the names in its services exist."""

from __future__ import annotations

import subprocess

import yaml

from tests.docker.conftest import ROOT

COMPOSE = ROOT / "docker/compose.yaml"
CHECKER = ROOT / ".venv-aws/bin/check-jsonschema"


def test_compose_file_fits_the_specification() -> None:
    command = [CHECKER, "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_names_only_what_is_there() -> None:
    content = yaml.safe_load(COMPOSE.read_text())
    services = content["services"]
    mounted = [volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert sorted(mounted) == sorted(content["volumes"])
    for service in services.values():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted != {"condition": "service_healthy"} or "healthcheck" in services[other]
    build = services["service"]["build"]
    context = COMPOSE.parent / build["context"]
    assert (context / build["dockerfile"]).is_file()
    assert services["service"]["environment"]["DATABASE_HOST"] in services


def test_compose_service_is_reached_from_this_machine_alone() -> None:
    service = yaml.safe_load(COMPOSE.read_text())["services"]["service"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_service_waits_for_the_database_that_accepts_tcp() -> None:
    check = yaml.safe_load(COMPOSE.read_text())["services"]["database"]["healthcheck"]
    assert check["test"][:4] == ["CMD", "pg_isready", "--host", "127.0.0.1"]


def test_database_has_two_minutes_to_start() -> None:
    check = yaml.safe_load(COMPOSE.read_text())["services"]["database"]["healthcheck"]
    assert check["start_period"] == "120s"


def test_every_compose_service_returns_after_a_reboot() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {name: service["restart"] for name, service in services.items()} == dict.fromkeys(services, "unless-stopped")
