"""Properties 7 to 11: admitted connections, and restricted outbound connections."""

from typing import Any

from tests.cloudformation.resolving import of_type, resources

GROUPS = of_type(resources("network", network_mode="endpoints"), "EC2::SecurityGroup")


def inbound(name: str) -> list[tuple[int, int, Any]]:
    return [
        (rule["FromPort"], rule["ToPort"], rule.get("CidrIp") or rule["SourceSecurityGroupId"]["Fn::GetAtt"][0])
        for rule in GROUPS[name]["SecurityGroupIngress"]
    ]


def test_balancer_admits_the_internet_on_80_and_443_only() -> None:
    assert inbound("BalancerSecurityGroup") == [(80, 80, "0.0.0.0/0"), (443, 443, "0.0.0.0/0")]


def test_tasks_admit_the_balancer_on_8000_only() -> None:
    assert inbound("TasksSecurityGroup") == [(8000, 8000, "BalancerSecurityGroup")]


def test_database_admits_the_tasks_on_5432_only() -> None:
    assert inbound("DatabaseSecurityGroup") == [(5432, 5432, "TasksSecurityGroup")]


def test_endpoints_admit_the_tasks_on_443_only() -> None:
    assert inbound("EndpointSecurityGroup") == [(443, 443, "TasksSecurityGroup")]


def test_no_group_keeps_the_outbound_rule_to_everywhere() -> None:
    for group in GROUPS.values():
        rules = group["SecurityGroupEgress"]
        assert rules
        assert not [r for r in rules if r["IpProtocol"] == "-1" and r["CidrIp"] != "127.0.0.1/32"]


def test_tasks_reach_aws_and_the_database_and_nothing_else() -> None:
    rules = {(rule["CidrIp"], rule["FromPort"]) for rule in GROUPS["TasksSecurityGroup"]["SecurityGroupEgress"]}
    assert rules == {("0.0.0.0/0", 443), ("10.0.10.0/24", 5432), ("10.0.11.0/24", 5432)}


def test_group_of_the_endpoints_exists_with_them_only() -> None:
    assert "EndpointSecurityGroup" not in resources("network", network_mode="public")
