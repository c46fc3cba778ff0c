"""The image that one environment runs, taken to another: the same digest, scanned, for the same processor."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from cloudformation.aws import Aws, AwsError
from cloudformation.config import Settings
from cloudformation.ecr import DEPLOYED_PREFIX
from cloudformation.parameters import stack_name

SEVERITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")

_ARCHITECTURES = {"arm64": "ARM64", "amd64": "X86_64"}
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_SCAN_SECONDS, _PAUSE_SECONDS = 300, 5
_CONFIG_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DeployedImage:
    """An image as an environment runs it."""

    repository: str
    tag: str
    digest: str


def deployed_image(aws: Aws, settings: Settings) -> DeployedImage:
    """Return the image that the environment of the settings runs."""
    stack = stack_name(settings, "service")
    described = aws.stack(stack)
    if described is None:
        raise AwsError(f"There is no stack {stack} in {aws.region}, so there is no image to promote. Deploy it first.")
    parameters = {part["ParameterKey"]: part["ParameterValue"] for part in described["Parameters"]}
    repository = repository_of(aws, settings)
    tag = parameters["ImageTag"]
    return DeployedImage(repository, tag, digest_of(aws, repository, tag))


def repository_of(aws: Aws, settings: Settings) -> str:
    """Return the name of the repository that an environment pulls from."""
    return aws.outputs(stack_name(settings, "data"))["Repository"]


def digest_of(aws: Aws, repository: str, tag: str) -> str:
    """Return the digest of a tag."""
    found = aws.call("ecr", "describe_images", repositoryName=repository, imageIds=[{"imageTag": tag}])
    if not found["imageDetails"]:
        raise AwsError(f"The repository {repository} has no image {tag}. Push it, or name one that is there.")
    digest: str = found["imageDetails"][0]["imageDigest"]
    return digest


def target_repository(aws: Aws, target: Settings) -> str:
    """Return the repository that the target environment will pull from; an empty string for one of its own, to be made.

    While its service stands that is the one it has: CloudFormation changes no export that another stack uses.
    """
    if aws.stack(stack_name(target, "data")) is None:
        return target.existing_repository
    present = repository_of(aws, target)
    return present if aws.stack(stack_name(target, "service")) else target.existing_repository or present


def require_one_repository(source: str, target: str, environment: str) -> None:
    """Raise AwsError if two environments have repositories of their own: an image copied is another image."""
    if source == target:
        return
    if not target:
        raise AwsError(
            f"The image is in the repository {source}, and {environment}, which is not there yet, would get one of its "
            f"own. Add --set ExistingRepository={source}; the environment keeps it from then on."
        )
    raise AwsError(
        f"The image is in the repository {source}, and {environment} pulls from {target}. An image is promoted within "
        f"one repository, and CloudFormation does not change an environment's while other stacks use it. Delete the "
        f"stacks monitoring and service of {environment} (and github, if there); nothing answers then. Promote with "
        f"--set ExistingRepository={source} --allow-data-loss Repository. The models, the registry and the images of "
        f"{target} stay."
    )


def require_scanned(aws: Aws, image: DeployedImage, fail_on: str, *, seconds: float = _SCAN_SECONDS) -> dict[str, int]:
    """Return how many findings of each severity the scan has.

    Raises:
        AwsError: there is no scan, it failed or does not end, or it found what is as severe as `fail_on`, or worse.
    """
    counts = _findings(aws, image, seconds)
    severe = {name: counts[name] for name in SEVERITIES[SEVERITIES.index(fail_on) :] if counts.get(name)}
    if severe:
        listed = ", ".join(f"{count} {name}" for name, count in severe.items())
        raise AwsError(
            f"The scan of {image.repository}:{image.tag} has findings: {listed}. Nothing was promoted. Read them with\n"
            f"  {_scan_command(image)}\nthen renew the base image or the library, deploy that, and promote it."
        )
    return counts


def _findings(aws: Aws, image: DeployedImage, seconds: float) -> dict[str, int]:
    deadline = time.monotonic() + seconds
    while True:
        status, description, counts = _scan(aws, image)
        # ACTIVE is what enhanced scanning says once the first scan is done.
        if status in {"COMPLETE", "ACTIVE"}:
            return counts
        if status not in {"IN_PROGRESS", "PENDING"}:
            raise AwsError(
                f"The scan of {image.repository}:{image.tag} says {status}: {description}. Nothing was promoted. Start "
                f"another with\n  aws ecr start-image-scan --repository-name {image.repository} "
                f"--image-id imageDigest={image.digest}"
            )
        if time.monotonic() > deadline:
            raise AwsError(
                f"The scan of {image.repository}:{image.tag} has not ended after {seconds:.0f} s. Try again later."
            )
        time.sleep(_PAUSE_SECONDS)


def _scan(aws: Aws, image: DeployedImage) -> tuple[str, str, dict[str, int]]:
    asked = {"repositoryName": image.repository, "imageId": {"imageDigest": image.digest}}
    try:
        found = aws.call("ecr", "describe_image_scan_findings", **asked)
    except AwsError as error:
        if "ScanNotFoundException" in str(error):
            return "NOT_FOUND", "the image was never scanned", {}
        raise
    state = found["imageScanStatus"]
    counts = found.get("imageScanFindings", {}).get("findingSeverityCounts", {})
    return state["status"], state.get("description", ""), counts


def _scan_command(image: DeployedImage) -> str:
    return (
        f"aws ecr describe-image-scan-findings --repository-name {image.repository} "
        f"--image-id imageDigest={image.digest}"
    )


def require_architecture(aws: Aws, image: DeployedImage, wanted: str) -> None:
    """Raise AwsError if the image is for another processor: its tasks would stop with `exec format error`."""
    found = architectures(aws, image)
    if wanted not in found:
        raise AwsError(
            f"{image.repository}:{image.tag} is for {', '.join(sorted(found)) or 'an unknown processor'}, and "
            f"the tasks run on {wanted}. Nothing was promoted. "
            f"Set CpuArchitecture to the image's, or build it for {wanted}."
        )


def architectures(aws: Aws, image: DeployedImage) -> set[str]:
    """Return the processors that the image is for, as CpuArchitecture names them."""
    manifest = json.loads(_manifest(aws, image)["imageManifest"])
    if "manifests" in manifest:
        named = {part["platform"]["architecture"] for part in manifest["manifests"] if "platform" in part}
    else:
        named = {_config(aws, image, manifest["config"]["digest"])["architecture"]}
    return {_ARCHITECTURES[name] for name in named if name in _ARCHITECTURES}


def _manifest(aws: Aws, image: DeployedImage) -> dict[str, Any]:
    found = aws.call(
        "ecr",
        "batch_get_image",
        repositoryName=image.repository,
        imageIds=[{"imageDigest": image.digest}],
        acceptedMediaTypes=list(_MANIFESTS),
    )
    if not found["images"]:
        raise AwsError(f"The repository {image.repository} has no image {image.digest}.")
    manifest: dict[str, Any] = found["images"][0]
    return manifest


def _config(aws: Aws, image: DeployedImage, digest: str) -> dict[str, Any]:
    asked = {"repositoryName": image.repository, "layerDigest": digest}
    url = aws.call("ecr", "get_download_url_for_layer", **asked)["downloadUrl"]
    with urllib.request.urlopen(url, timeout=_CONFIG_SECONDS) as answer:  # noqa: S310 - ECR's own address
        config: dict[str, Any] = json.load(answer)
    return config


def mark_deployed(aws: Aws, image: DeployedImage, environment: str) -> None:
    """Give the image a tag that says if it was deployed; the repository's lifecycle rule spares such images."""
    found = _manifest(aws, image)
    try:
        aws.call(
            "ecr",
            "put_image",
            repositoryName=image.repository,
            imageTag=f"{DEPLOYED_PREFIX}{environment}-{image.tag}"[:128],
            imageManifest=found["imageManifest"],
            imageManifestMediaType=found["imageManifestMediaType"],
        )
    except AwsError as error:
        if "AlreadyExists" not in str(error):  # it was deployed there before
            raise
