"""Property 16, and which images the repository forgets."""

import fnmatch
import json
from typing import Any

from tests.cloudformation.resolving import resources


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        resources("data")["Repository"]["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"]
    )["rules"]
    return found


def test_repository_scans_fixes_tags_expires_and_is_kept() -> None:
    part = resources("data")["Repository"]
    properties = part["Properties"]
    assert (part["DeletionPolicy"], part["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert properties["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert properties["ImageTagMutability"] == "IMMUTABLE"
    assert [rule["selection"]["tagStatus"] for rule in rules()] == ["tagged", "untagged", "any"]


def expired(images: list[tuple[int, list[str]]]) -> list[int]:
    """Return the ages in days of the images that the rules expire: the lowest priority that selects one decides."""
    left, gone = sorted(images), []
    for rule in sorted(rules(), key=lambda rule: rule["rulePriority"]):
        selection = rule["selection"]
        selected = [image for image in left if _matches(image[1], selection)]
        left = [image for image in left if image not in selected]
        if selection["countType"] == "imageCountMoreThan":
            gone += selected[selection["countNumber"] :]
        else:
            gone += [image for image in selected if image[0] > selection["countNumber"]]
    return [age for age, _ in gone]


def _matches(tags: list[str], selection: dict[str, Any]) -> bool:
    if selection["tagStatus"] == "any":
        return True
    if selection["tagStatus"] == "untagged":
        return not tags
    # An image has to bear a tag for each of the patterns.
    return all(fnmatch.filter(tags, pattern) for pattern in selection["tagPatternList"])


def test_image_that_was_deployed_outlives_the_newer_ones() -> None:
    newer = [(age, [f"v{age}"]) for age in range(40)]
    deployed, other = (400, ["v400", "deployed-prod-v400"]), (401, ["v401"])
    assert expired([*newer, deployed, other]) == [*range(30, 40), 401]


def test_layers_without_tag_go_after_a_week() -> None:
    assert expired([(6, []), (8, [])]) == [8]
