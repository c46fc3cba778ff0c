"""The web ACL: which rules it has, which of AWS's rules only count, and that it stands before the balancer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudformation import environments
from cloudformation.config import ConfigurationError, Settings
from cloudformation.cost import bill
from cloudformation.problems import require_sound
from cloudformation.resolution import Deployed, Request, requested
from tests.cloudformation.conftest import Emulator
from tests.cloudformation.resolving import of_type, resources

GIVEN = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/x/1"
MANAGED = [
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesCommonRuleSet",
]


@pytest.mark.parametrize(
    ("settings", "association", "rules"),
    [
        ({}, [], []),
        ({"web_acl_arn": GIVEN}, ["GivenWebAcl"], []),
        ({"rate_limit": 1000}, ["WebAclAssociation"], ["RatePerAddress"]),
        ({"managed_rules": True}, ["WebAclAssociation"], MANAGED),
        ({"managed_rules": True, "rate_limit": 1000}, ["WebAclAssociation"], ["RatePerAddress", *MANAGED]),
    ],
)
def test_web_acl_has_the_rules_that_are_asked_for(
    settings: dict[str, Any], association: list[str], rules: list[str]
) -> None:
    parts = resources("monitoring", **settings)
    assert list(of_type(parts, "WAFv2::WebACLAssociation")) == association
    acls = of_type(parts, "WAFv2::WebACL").values()
    assert [rule["Name"] for acl in acls for rule in acl["Rules"]] == rules
    billed = sum(line.quantity for line in bill(Settings(**settings)) if line.price == "web-acl-rule")
    assert billed == len(rules)


def test_large_bodies_and_programs_without_a_user_agent_pass() -> None:
    acl = resources("monitoring", managed_rules=True)["WebAcl"]["Properties"]
    overrides = {
        override["Name"]: list(override["ActionToUse"])
        for rule in acl["Rules"]
        for override in rule["Statement"]["ManagedRuleGroupStatement"].get("RuleActionOverrides", [])
    }
    assert overrides == {"SizeRestrictions_BODY": ["Count"], "NoUserAgent_HEADER": ["Count"]}


@pytest.mark.parametrize("own", [{"rate_limit": 1000}, {"managed_rules": True}])
def test_two_web_acls_are_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a balancer takes one web ACL"):
        require_sound(Settings(web_acl_arn=GIVEN, **own))


def test_web_acl_stands_before_the_balancer_of_the_service(emulator: Emulator) -> None:
    settings = Settings(project_name="acl", image_tag="v1", managed_rules=True, rate_limit=1000)
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    service = emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})
    parents = {"DataStack": data, "ServiceStack": service}
    monitoring = emulator.deploy_once(settings, "monitoring", parents)
    balancer = emulator.resources(service)["LoadBalancer"]
    found = emulator.client("wafv2").get_web_acl_for_resource(ResourceArn=balancer)["WebACL"]
    assert found["ARN"] == emulator.resources(monitoring)["WebAclAssociation"].partition("|")[0]
    assert [rule["Name"] for rule in found["Rules"]] == ["RatePerAddress", *MANAGED]


def test_web_acl_of_an_older_service_stack_is_kept(tmp_path: Path) -> None:
    deployed = Deployed({"service": {"RateLimit": "5000"}, "monitoring": {}})
    assert requested(Request(), environments.read("dev", tmp_path), deployed).rate_limit == 5000
