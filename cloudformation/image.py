"""The image's way into the repository: built for the tasks' processor, pushed once under an immutable tag."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cloudformation.aws import Aws, AwsError, run
from cloudformation.config import DEFAULT_LOCKS, Settings

BUILDERS = ("docker", "podman", "buildah")
_PATIENCE = 20
_ROOT = Path(__file__).parent.parent
_PLATFORMS = {"ARM64": "linux/arm64", "X86_64": "linux/amd64"}


@dataclass(frozen=True, slots=True)
class Image:
    """Where the image belongs: `uri` is the repository's address."""

    repository: str
    uri: str
    tag: str

    @property
    def reference(self) -> str:
        return f"{self.uri}:{self.tag}"

    @property
    def registry(self) -> str:
        return self.uri.partition("/")[0]


def find_builder() -> str:
    """Return the first of the programs that can build an image, is installed here and works."""
    installed = [builder for builder in BUILDERS if shutil.which(builder)]
    for builder in installed:
        if _works(builder):
            return builder
    if installed:
        tried = " and ".join(f"`{builder} info`" for builder in installed)
        raise AwsError(f"{tried} failed; is the daemon running? One of {', '.join(BUILDERS)} must build the image.")
    raise AwsError(f"None of {', '.join(BUILDERS)} is installed; one is needed to build the image.")


def _works(builder: str) -> bool:
    """Tell whether a program is more than installed: docker may be there without its daemon."""
    try:
        return not subprocess.run([builder, "info"], capture_output=True, check=False, timeout=_PATIENCE).returncode
    except subprocess.TimeoutExpired:
        return False


def is_pushed(aws: Aws, image: Image) -> bool:
    """Tell whether the repository has the tag already; tags never move, so it is the same image."""
    try:
        found = aws.call("ecr", "describe_images", repositoryName=image.repository, imageIds=[{"imageTag": image.tag}])
    except AwsError as error:
        if "ImageNotFoundException" in str(error):
            return False
        raise
    return bool(found["imageDetails"])


def build_command(settings: Settings, reference: str, builder: str, base_image: str = "") -> list[str]:
    """Return the command that builds the image, on `base_image` if one is named instead of the Dockerfile's own."""
    command = [builder, "build", "--platform", _PLATFORMS[settings.cpu_architecture], "--file", "docker/Dockerfile"]
    if builder != "docker":
        # What docker does by itself: keep the health check, and find the list of what is left out.
        command += ["--format", "docker", "--ignorefile", "docker/Dockerfile.dockerignore"]
    if settings.locks != DEFAULT_LOCKS:
        command += ["--build-arg", f"LOCKS={' '.join(settings.locks)}"]
    if base_image:
        command += ["--build-arg", f"BASE_IMAGE={base_image}"]
    return [*command, "--tag", reference, "."]


def login_commands(region: str, registry: str, builder: str) -> tuple[list[str], list[str]]:
    """Return the command that prints a password, and the one that reads it."""
    password = ["aws", "ecr", "get-login-password", "--region", region]
    return password, [builder, "login", "--username", "AWS", "--password-stdin", registry]


def push_command(reference: str, builder: str) -> list[str]:
    return [builder, "push", reference]


def build_and_push(settings: Settings, image: Image, base_image: str = "") -> None:
    """Build the image (on another base, if one is named), log in to the registry, push it."""
    builder = find_builder()
    print_password, log_in = login_commands(settings.region, image.registry, builder)
    run_in_root(build_command(settings, image.reference, builder, base_image))
    password = subprocess.run(print_password, capture_output=True, check=False)
    if password.returncode:
        raise AwsError(f"{' '.join(print_password)}\nfailed: {password.stderr.decode().strip()}")
    if subprocess.run(log_in, input=password.stdout, check=False).returncode:
        raise AwsError(f"{' '.join(log_in)}\nfailed; the password came from `{' '.join(print_password)}`.")
    run(push_command(image.reference, builder))


def run_in_root(command: list[str]) -> None:
    """Run a build where the Dockerfile expects it: at the top of the checkout."""
    if subprocess.run(command, cwd=_ROOT, check=False).returncode:
        raise AwsError(f"{' '.join(command)}\nfailed.")
