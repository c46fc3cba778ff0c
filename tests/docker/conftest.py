"""The image for real where buildah is there: built, mounted read-only, run without rights, pushed to a registry.

Building needs root, buildah and debootstrap (`apt-get install buildah debootstrap`), pushing docker-registry and
htpasswd besides (`apt-get install docker-registry apache2-utils`); test_compose.py needs Docker's engine and compose.
Where something is missing, its module is not collected, and the head of the report says why.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloudformation.conftest import emulator, locked, shared_folder
from tests.docker.registry import ADDRESS, PROGRAMS

__all__ = ["emulator"]

ROOT = Path(__file__).parent.parent.parent
BUILDAH = ("buildah", "--storage-driver", "overlay")
BASE, IMAGE = "localhost/mlapi-test-base", "localhost/mlapi-test"


def _succeeds(*command: str) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, check=False, timeout=10).returncode
    except subprocess.TimeoutExpired:
        return False


def missing(*programs: str) -> list[str]:
    """Return what is not here of the programs, and of the rights that building needs."""
    wanted = [program for program in programs if shutil.which(program) is None]
    if not wanted and not _succeeds("unshare", "--mount", "true"):
        wanted.append("the right to mount")
    return wanted


def missing_to_push() -> list[str]:
    """Return what is not here and needed to run a registry under ECR's address."""
    wanted = missing(*PROGRAMS)
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, 443))
        except OSError as error:
            wanted.append(f"port 443 ({error.strerror})")
    return wanted


def missing_for_compose() -> list[str]:
    """Return what is not here and needed to run compose.yaml: Docker's engine, compose, the images that it names."""
    if shutil.which("docker") is None or not _succeeds("docker", "info"):
        return ["Docker's engine"]
    if not _succeeds("docker", "compose", "version"):
        return ["docker compose"]
    images = re.findall(r"image: (\S+/\S+)", (ROOT / "docker/compose.yaml").read_text())
    own_base = re.findall(r"ARG BASE_IMAGE=(\S+)", (ROOT / "docker/Dockerfile").read_text())
    images += [os.environ["BASE_IMAGE"]] if "BASE_IMAGE" in os.environ else own_base
    return [f"{image} (docker pull)" for image in images if not _succeeds("docker", "image", "inspect", image)]


TO_BUILD = missing("buildah", "debootstrap", "unshare")
TO_PUSH = TO_BUILD or missing_to_push()
FOR_COMPOSE = missing_for_compose()
collect_ignore = [
    name
    for name, lacking in (("test_image.py", TO_BUILD), ("test_push.py", TO_PUSH), ("test_compose.py", FOR_COMPOSE))
    if lacking
]


def pytest_report_header() -> list[str]:
    """Say whether the image is built, run and pushed in this run."""
    return [
        f"image: not built here, missing {', '.join(TO_BUILD)}" if TO_BUILD else "image: built and run by buildah",
        f"push: not tried here, missing {', '.join(TO_PUSH)}" if TO_PUSH else "push: to a registry on loopback",
        f"compose: not run here, missing {', '.join(FOR_COMPOSE)}"
        if FOR_COMPOSE
        else "compose: run by Docker's engine",
    ]


def buildah(*words: str | Path) -> str:
    done = subprocess.run([*BUILDAH, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout.strip()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image on a base of this machine's Debian; layers of earlier builds are used again."""
    with locked(shared_folder(tmp_path_factory, "image"), "build"):
        if subprocess.run([*BUILDAH, "inspect", "--type", "image", BASE], capture_output=True, check=False).returncode:
            _make_base(tmp_path_factory.mktemp("base"))
        buildah(
            "build", "--isolation", "chroot", "--layers", "--format", "docker", "--build-arg", f"BASE_IMAGE={BASE}",
            "--ignorefile", "docker/Dockerfile.dockerignore", "--file", "docker/Dockerfile", "--tag", IMAGE, ".",
        )  # fmt: skip
    return IMAGE


def _make_base(folder: Path) -> None:
    """Import a minimal Debian with Python as the base: its registry cannot be reached from everywhere."""
    packages = "python3,python3-venv,python3-dev,python-is-python3,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder],
        check=True,
        capture_output=True,
    )
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(certificates, folder / certificates.relative_to("/"))
    (folder / "etc/pip.conf").write_text(f"[global]\ncert = {certificates}\n")
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, folder, "/")
    buildah("commit", "--quiet", container, BASE)
    buildah("rm", container)


@pytest.fixture(scope="session")
def root_file_system(image: str) -> Iterator[Path]:
    """Mount the image's file system."""
    container = buildah("from", image)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)
