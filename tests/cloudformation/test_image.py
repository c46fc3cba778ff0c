"""Which program builds the image, and on what."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudformation.__main__ import main
from cloudformation.aws import AwsError
from cloudformation.config import Settings
from cloudformation.image import build_command, find_builder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts a program in the only folder of PATH, which ends with a status."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name: str, status: int) -> None:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        program.chmod(0o755)

    return put


def test_builder_is_the_first_that_works(install):
    install("docker", 1)
    install("buildah", 0)
    assert find_builder() == "buildah"
    install("podman", 0)
    assert find_builder() == "podman"
    install("docker", 0)
    assert find_builder() == "docker"


def test_builder_that_does_not_work_is_named(install):
    with pytest.raises(AwsError, match="None of docker, podman, buildah is installed"):
        find_builder()
    install("docker", 1)
    with pytest.raises(AwsError, match=r"`docker info` failed; is the daemon running\?"):
        find_builder()


def test_base_image_reaches_the_build(capsys):
    assert build_command(Settings(), "here:v1", "docker")[-3:] == ["--tag", "here:v1", "."]
    assert "BASE_IMAGE=mirror/python:3" in build_command(Settings(), "here:v1", "docker", "mirror/python:3")
    assert main(["deploy", "--image-tag", "v1", "--dry-run", "--base-image", "mirror/python:3 $(id)"]) == 0
    assert "--build-arg BASE_IMAGE='mirror/python:3 $(id)' --tag" in capsys.readouterr().out


def test_image_has_the_libraries_that_the_settings_need() -> None:
    settings = Settings(open_telemetry=True, models_signatures="warn", signature_key="QUJD")
    command = build_command(settings, "r:v1", "docker")
    assert "LOCKS=requirements.txt requirements/otel.txt requirements/signing.txt" in command
    assert not [word for word in build_command(Settings(), "r:v1", "docker") if word.startswith("LOCKS")]
