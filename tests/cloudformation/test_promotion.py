"""An image on its way to the next environment: scanned, for the right processor, and kept from then on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cloudformation.aws import Aws, AwsError
from cloudformation.config import Settings
from cloudformation.promotion import (
    DeployedImage,
    architectures,
    digest_of,
    mark_deployed,
    require_architecture,
    require_one_repository,
    require_scanned,
)
from tests.cloudformation import registry
from tests.cloudformation.conftest import REGION, Emulator

CLEAN: dict[str, Any] = {"status": "COMPLETE", "counts": {}}


@pytest.fixture
def aws(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    yield Aws(REGION)


@pytest.fixture
def repository(emulator: Emulator, request: pytest.FixtureRequest) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower()).strip("-")
    emulator.client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return name


@pytest.mark.parametrize(
    ("counts", "fail_on"),
    [
        ({}, "CRITICAL"),
        ({"HIGH": 7, "MEDIUM": 2}, "CRITICAL"),
        ({"UNDEFINED": 3, "INFORMATIONAL": 9}, "LOW"),
    ],
)
def test_findings_below_the_bar_pass(emulator, aws, repository, counts, fail_on) -> None:
    digest = registry.push(emulator, repository, "v1", scan={"status": "COMPLETE", "counts": counts})
    assert require_scanned(aws, DeployedImage(repository, "v1", digest), fail_on) == counts


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"CRITICAL": 1}, "CRITICAL: 1 CRITICAL"),
        ({"CRITICAL": 0, "HIGH": 2}, "HIGH: 2 HIGH"),
        ({"CRITICAL": 1, "HIGH": 2}, "HIGH: 2 HIGH, 1 CRITICAL"),
        ({"LOW": 4}, "LOW: 4 LOW"),
    ],
)
def test_findings_as_severe_as_the_bar_stop_the_promotion(emulator, aws, repository, counts, said) -> None:
    fail_on, _, findings = said.partition(": ")
    digest = registry.push(emulator, repository, "v1", scan={"status": "COMPLETE", "counts": counts})
    with pytest.raises(AwsError, match=f"has findings: {findings}"):
        require_scanned(aws, DeployedImage(repository, "v1", digest), fail_on)


@pytest.mark.parametrize(
    ("scan", "said"),
    [
        (None, "never scanned"),
        ({"status": "FAILED"}, "says FAILED"),
        ({"status": "UNSUPPORTED_IMAGE"}, "says UNSUPPORTED_IMAGE"),
        ({"status": "IN_PROGRESS"}, "has not ended"),
    ],
)
def test_image_without_a_finished_scan_is_not_promoted(emulator, aws, repository, scan, said) -> None:
    image = DeployedImage(repository, "v1", registry.push(emulator, repository, "v1", scan=scan))
    with pytest.raises(AwsError, match=said):
        require_scanned(aws, image, "CRITICAL", seconds=0)


@pytest.mark.parametrize(("built", "wanted"), [("arm64", "ARM64"), ("amd64", "X86_64")])
def test_image_for_the_tasks_processor_passes(emulator, aws, repository, built, wanted) -> None:
    image = DeployedImage(repository, "v1", registry.push(emulator, repository, "v1", architecture=built))
    require_architecture(aws, image, wanted)
    other = ({"ARM64", "X86_64"} - {wanted}).pop()
    with pytest.raises(AwsError, match=f"is for {wanted}, and the tasks run on {other}"):
        require_architecture(aws, image, other)


def test_index_is_for_every_processor_that_it_lists(emulator, aws, repository) -> None:
    digest = registry.push_index(emulator, repository, "v1", architectures=["arm64", "amd64", "unknown"])
    assert architectures(aws, DeployedImage(repository, "v1", digest)) == {"ARM64", "X86_64"}


def test_deployed_image_bears_a_tag_for_its_environment(emulator, aws, repository) -> None:
    digest = registry.push(emulator, repository, "v1", scan=CLEAN)
    image = DeployedImage(repository, "v1", digest)
    mark_deployed(aws, image, "prod")
    mark_deployed(aws, image, "prod")
    assert digest_of(aws, repository, "deployed-prod-v1") == digest_of(aws, repository, "v1") == digest


def test_image_is_not_copied_between_repositories() -> None:
    require_one_repository("images", "images", "prod")
    with pytest.raises(AwsError, match="Add --set ExistingRepository=images; the environment keeps it"):
        require_one_repository("images", "", "prod")
    with pytest.raises(AwsError, match="Delete the stacks.*--set ExistingRepository=images --allow-data-loss Repo"):
        require_one_repository("images", "others", "prod")


@pytest.fixture(scope="module")
def dev(emulator: Emulator) -> str:
    """Deploy dev with an image that may be promoted, and return its repository's name."""
    settings = Settings(project_name="promo", image_tag="v1")
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    name = emulator.outputs(data)["Repository"]
    registry.push(emulator, name, "v1", scan=CLEAN)
    return name


def promote(emulator: Emulator, *words: str) -> Any:
    return emulator.cloudformation("promote", "--from", "dev", "--env", "staging", "--set", "ProjectName=promo", *words)


@pytest.mark.timeout(300)
def test_first_promotion_makes_the_environment_on_the_same_repository(emulator: Emulator, dev: str) -> None:
    refused = promote(emulator)
    assert refused.returncode == 1
    assert f"Add --set ExistingRepository={dev}" in refused.stderr
    done = promote(emulator, "--set", f"ExistingRepository={dev}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert emulator.outputs("promo-staging-data")["Repository"] == dev
    assert "Repository" not in emulator.resources("promo-staging-data")


def test_repository_is_changed_only_while_no_service_uses_it(emulator: Emulator) -> None:
    settings = Settings(project_name="promoted", image_tag="v1")
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    own = emulator.outputs(data)["Repository"]
    assert target(emulator, "existing_repository='images'") == "images"
    assert target(emulator, "") == own
    emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    assert target(emulator, "existing_repository='images'") == own


def target(emulator: Emulator, changes: str) -> str:
    code = (
        "from cloudformation.aws import Aws; from cloudformation.config import Settings\n"
        "from cloudformation.promotion import target_repository\n"
        f"print(target_repository(Aws('{REGION}'), Settings(project_name='promoted', {changes})))"
    )
    done = emulator.run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
