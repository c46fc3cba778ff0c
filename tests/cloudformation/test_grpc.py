"""gRPC behind the balancer: what the option creates, what it does not change, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.plan import plan
from cloudformation.problems import problems_of
from cloudformation.stacks import TEMPLATE_MAKERS, TEMPLATES
from tests.cloudformation.conftest import CERTIFICATE, Emulator
from tests.cloudformation.resolving import of_type, resources
from tests.cloudformation.test_sign_in import AT_BALANCER

CERTIFIED = {"certificate_arn": CERTIFICATE}
ON = {**CERTIFIED, "enable_grpc": True}
ADMIN = {"admin_cidr": "203.0.113.7/32"}
FORMS = [
    pytest.param(CERTIFIED, id="service"),
    pytest.param({**AT_BALANCER, "emergency_cidr": "203.0.113.7/32"}, id="sign-in"),
]


def service(**settings: Any) -> dict[str, dict[str, Any]]:
    return resources("service", **settings)


def container(**settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = service(**settings)["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_option_adds_its_own_parts_alone(form: dict[str, Any]) -> None:
    without, with_grpc = service(**form), service(enable_grpc=True, **form)
    own = {"GrpcTargetGroup", "ForwardsGrpc", "BalancerToGrpc", "GrpcFromBalancer", "NoHealthyGrpcTarget"}
    assert set(with_grpc) - set(without) == own
    changed = {name for name in without if without[name] != with_grpc[name]}
    assert changed == {"TaskDefinition", "Service"}


def test_target_group_differs_from_https_in_its_protocol() -> None:
    found = service(**ON)
    grpc, http = (found[name]["Properties"] for name in ("GrpcTargetGroup", "TargetGroup"))
    assert {name: value for name, value in grpc.items() if http.get(name) != value} == {
        "Port": 8001,
        "ProtocolVersion": "GRPC",
        "HealthCheckPath": "/AWS.ALB/healthcheck",
        "Matcher": {"GrpcCode": "0"},
    }


def values(rule: dict[str, Any]) -> list[str]:
    return [
        value
        for condition in rule["Conditions"]
        for part in condition.values()
        if isinstance(part, dict)
        for texts in part.values()
        for value in (texts if isinstance(texts, list) else [texts])
    ]


@pytest.mark.parametrize("form", FORMS)
def test_rule_is_before_all_others_on_the_https_listener(form: dict[str, Any]) -> None:
    found = of_type(service(enable_grpc=True, **ADMIN, **form), "ElasticLoadBalancingV2::ListenerRule")
    first, *_ = sorted(found, key=lambda name: found[name]["Priority"])
    assert first == "ForwardsGrpc"
    assert found[first]["ListenerArn"] == {"Ref": "HttpsListener"}
    assert found[first]["Actions"] == [{"Type": "forward", "TargetGroupArn": {"Ref": "GrpcTargetGroup"}}]
    assert values(found[first]) == [
        "/inference.GRPCInferenceService/*",
        "/grpc.health.v1.Health/*",
        "/grpc.reflection.*",
    ]


@pytest.mark.parametrize("form", FORMS)
def test_rules_keep_to_the_limits_of_a_balancer(form: dict[str, Any]) -> None:
    found = of_type(service(enable_grpc=True, **ADMIN, **form), "ElasticLoadBalancingV2::ListenerRule").values()
    assert len({rule["Priority"] for rule in found}) == len(found)
    assert all(len(values(rule)) <= 5 for rule in found)
    assert all(len(values({"Conditions": [condition]})) <= 3 for rule in found for condition in rule["Conditions"])
    assert all(sum(value.count("*") for value in values(rule)) <= 5 for rule in found)


@pytest.mark.parametrize("form", FORMS)
def test_task_opens_the_port_and_registers_it(form: dict[str, Any]) -> None:
    part = container(enable_grpc=True, **form)
    assert [mapping["ContainerPort"] for mapping in part["PortMappings"]] == [8000, 8001]
    assert {"Name": "GRPC_PORT", "Value": "8001"} in part["Environment"]
    entries = service(enable_grpc=True, **form)["Service"]["Properties"]["LoadBalancers"]
    assert [(entry["ContainerPort"], entry["TargetGroupArn"]["Ref"]) for entry in entries] == [
        (8000, "TargetGroup"),
        (8001, "GrpcTargetGroup"),
    ]


def test_service_waits_for_the_rule() -> None:
    # ECS refuses a target group that no rule forwards to yet
    assert {"Key": "GrpcRule", "Value": {"Ref": "ForwardsGrpc"}} in service(**ON)["Service"]["Properties"]["Tags"]


def test_port_is_open_between_balancer_and_tasks_alone() -> None:
    found = service(**ON)
    balancer, tasks = ({"Fn::ImportValue": f"mlapi-dev-network-{name}SecurityGroup"} for name in ("Balancer", "Tasks"))
    outbound, inbound = (found[name]["Properties"] for name in ("BalancerToGrpc", "GrpcFromBalancer"))
    for rule in (outbound, inbound):
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 8001, 8001)
        assert not [name for name in rule if name.startswith("Cidr")]
    assert (outbound["GroupId"], outbound["DestinationSecurityGroupId"]) == (balancer, tasks)
    assert (inbound["GroupId"], inbound["SourceSecurityGroupId"]) == (tasks, balancer)


def test_alarm_equals_that_of_the_http_target_group() -> None:
    grpc = service(**ON)["NoHealthyGrpcTarget"]["Properties"]
    http = resources("monitoring", **CERTIFIED)["NoHealthyTarget"]["Properties"]
    assert {name for name in grpc if grpc[name] != http[name]} == {"AlarmDescription", "Dimensions", "Tags"}
    assert [dimension["Value"]["Fn::GetAtt"] for dimension in grpc["Dimensions"]] == [
        ["LoadBalancer", "LoadBalancerFullName"],
        ["GrpcTargetGroup", "TargetGroupFullName"],
    ]


@pytest.mark.parametrize("form", ["service-shift", "service-http-api"])
def test_forms_that_cannot_carry_it_have_no_parameter(form: str) -> None:
    template = TEMPLATE_MAKERS[form]().to_dict()
    assert "EnableGrpc" not in template["Parameters"]
    assert not [name for name in template["Resources"] if "Grpc" in name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificate_arn": ""}, "EnableGrpc needs CertificateArn"),
        ({"door": "http-api", "domain_name": "api.example.com"}, "an HTTP API does not speak gRPC"),
        (
            {"deployment_strategy": "CANARY", "domain_name": "api.example.com"},
            "CANARY and EnableGrpc do not go together",
        ),
        ({"environment_variables": '{"GRPC_PORT": "9000"}'}, "Set the parameter EnableGrpc instead"),
    ],
)
def test_grpc_that_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    found = problems_of(Settings(**({"image_tag": "v1"} | ON | changes)))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("form", FORMS)
def test_grpc_that_can_work_is_not(form: dict[str, Any]) -> None:
    assert problems_of(Settings(image_tag="v1", enable_grpc=True, **form)) == []


# On the emulator


def test_template_itself_refuses_grpc_without_a_certificate(emulator: Emulator) -> None:
    with pytest.raises(Exception, match="gRPC needs a certificate"):
        emulator.client("cloudformation").create_stack(
            StackName="refused",
            TemplateBody=(TEMPLATES / "service.yaml").read_text(),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in {"ImageTag": "v1", "EnableGrpc": "true"}.items()
            ],
        )


@pytest.fixture(scope="module")
def stacks(emulator: Emulator) -> tuple[str, str]:
    """Return the network and the service, deployed with the option."""
    settings = Settings(project_name="grpc", image_tag="v1", **ON)
    network = emulator.deploy_once(settings, "network", {})
    data = emulator.deploy_once(settings, "data", {"NetworkStack": network})
    return network, emulator.deploy_once(settings, "service", {"NetworkStack": network, "DataStack": data})


def test_deployed_rule_leads_to_a_target_group_of_grpc(emulator: Emulator, stacks: tuple[str, str]) -> None:
    elb, parts = emulator.client("elbv2"), emulator.resources(stacks[1])
    (rule,) = elb.describe_rules(RuleArns=[parts["ForwardsGrpc"]])["Rules"]
    assert rule["Priority"] == "1"
    assert [(action["Type"], action["TargetGroupArn"]) for action in rule["Actions"]] == [
        ("forward", parts["GrpcTargetGroup"])
    ]
    assert "/inference.GRPCInferenceService/*" in rule["Conditions"][0]["PathPatternConfig"]["Values"]
    (group,) = elb.describe_target_groups(TargetGroupArns=[parts["GrpcTargetGroup"]])["TargetGroups"]
    assert (group["ProtocolVersion"], group["Port"], group["TargetType"]) == ("GRPC", 8001, "ip")
    assert (group["HealthCheckPath"], group["Matcher"]) == ("/AWS.ALB/healthcheck", {"GrpcCode": "0"})
    attributes = elb.describe_target_group_attributes(TargetGroupArn=parts["GrpcTargetGroup"])["Attributes"]
    assert {"Key": "deregistration_delay.timeout_seconds", "Value": "30"} in attributes


def test_deployed_service_registers_both_ports(emulator: Emulator, stacks: tuple[str, str]) -> None:
    parts = emulator.resources(stacks[1])
    ecs = emulator.client("ecs")
    (found,) = ecs.describe_services(cluster=parts["Cluster"], services=[parts["Service"]])["services"]
    assert [(entry["containerPort"], entry["targetGroupArn"]) for entry in found["loadBalancers"]] == [
        (8000, parts["TargetGroup"]),
        (8001, parts["GrpcTargetGroup"]),
    ]
    assert emulator.outputs(stacks[1])["GrpcAddress"].endswith(":443")


def ports(emulator: Emulator, network: str) -> tuple[list[int], list[int]]:
    """Return the ports on which the tasks admit somebody, and the balancer reaches somebody."""
    parts = emulator.resources(network)
    ids = [parts["TasksSecurityGroup"], parts["BalancerSecurityGroup"]]
    groups = {g["GroupId"]: g for g in emulator.client("ec2").describe_security_groups(GroupIds=ids)["SecurityGroups"]}
    tasks, balancer = groups[ids[0]]["IpPermissions"], groups[ids[1]]["IpPermissionsEgress"]
    return [rule["FromPort"] for rule in tasks], sorted({rule["FromPort"] for rule in balancer})


def test_option_is_switched_off_again(emulator: Emulator, stacks: tuple[str, str]) -> None:
    network, name = stacks
    assert ports(emulator, network) == ([8000, 8001], [8000, 8001])
    parents = {"NetworkStack": network, "DataStack": "grpc-dev-data"}
    emulator.deploy(Settings(project_name="grpc", image_tag="v1", **CERTIFIED), "service", parents)
    assert not [part for part in emulator.resources(name) if "Grpc" in part]
    assert ports(emulator, network) == ([8000], [8000])
    emulator.deploy(Settings(project_name="grpc", image_tag="v1", **ON), "service", parents)
    assert ports(emulator, network) == ([8000, 8001], [8000, 8001])


def test_plan_of_a_sign_in_carries_the_option() -> None:
    (found,) = [part for part in plan(Settings(image_tag="v1", **(AT_BALANCER | ON))) if part.kind == "service"]
    assert (found.template.name, found.parameters["EnableGrpc"]) == ("service-sign-in.yaml", "true")
