"""Property 16."""

import json

from tests.cloudformation.resolving import resources


def test_repository_scans_never_moves_a_tag_forgets_and_is_kept() -> None:
    part = resources("data")["Repository"]
    properties = part["Properties"]
    assert (part["DeletionPolicy"], part["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert properties["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert properties["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(properties["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "any"]
