"""Security Hub's foundational controls: docs/aws-security.md says of each what the templates do, and it is so.

Each control is decided on the resolved templates. One that passes does so in every environment, an option's fails
without it and passes with it, and one that is refused fails and has its reason in the template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import STANDALONE
from tests.cloudformation.conftest import CERTIFICATE, ROOT
from tests.cloudformation.resolving import of_type, resources

PAGE = (ROOT / "docs/aws-security.md").read_text()
ROWS = re.findall(r"^\| ([A-Z]\w+\.\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
PROD = {"environment_name": "prod", "certificate_arn": CERTIFICATE, "min_tasks": 2, "endpoint_zones": 2}


@dataclass(frozen=True)
class Parts:
    """What a deployment makes under its settings, with the stacks that are deployed by hand."""

    found: dict[str, dict[str, Any]]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return list(of_type(self.found, kind).values())

    def one(self, kind: str) -> dict[str, Any]:
        (part,) = self.all(kind)
        return part

    def has(self, kind: str, name: str, value: Any = True) -> bool:
        """Return whether every part of a kind has a property's value, and there is one."""
        parts = self.all(kind)
        return bool(parts) and all(part.get(name) == value for part in parts)

    def balancer(self, attribute: str) -> str:
        found = {pair["Key"]: pair["Value"] for pair in self.one(BALANCER)["LoadBalancerAttributes"]}
        return str(found.get(attribute))

    def containers(self) -> list[dict[str, Any]]:
        containers: list[dict[str, Any]] = self.one("ECS::TaskDefinition")["ContainerDefinitions"]
        return containers

    def statements(self) -> list[dict[str, Any]]:
        """Return what the roles are allowed."""
        roles = [policy["PolicyDocument"] for role in self.all("IAM::Role") for policy in role["Policies"]]
        return [s for document in roles for s in document["Statement"] if "Effect" in s]

    def endpoints(self) -> set[str]:
        return {
            json.dumps(part["ServiceName"]).rpartition("}.")[2].rstrip('"}') for part in self.all("EC2::VPCEndpoint")
        }

    def log_exports(self) -> list[str]:
        exports: list[str] = self.one(DATABASE).get("EnableCloudwatchLogsExports", [])
        return exports


def parts(**settings: Any) -> Parts:
    found = {
        name: part for kind in ("rotation", "key") for name, part in STANDALONE[kind]().to_dict()["Resources"].items()
    }
    for stack in ("network", "data", "service", "monitoring"):
        found |= resources(stack, **settings)
    return Parts(found)


BALANCER, LISTENER = "ElasticLoadBalancingV2::LoadBalancer", "ElasticLoadBalancingV2::Listener"
TARGETS, DATABASE, SECRET = "ElasticLoadBalancingV2::TargetGroup", "RDS::DBInstance", "SecretsManager::Secret"
SERVICE, TASK, IMAGES = "ECS::Service", "ECS::TaskDefinition", "ECR::Repository"
NO_PUBLIC_ACCESS = dict.fromkeys(
    ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
)


def open_ports(p: Parts) -> set[int]:
    rules = [rule for group in p.all("EC2::SecurityGroup") for rule in group["SecurityGroupIngress"]]
    return {rule["FromPort"] for rule in rules if rule.get("CidrIp") == "0.0.0.0/0"}


def https(p: Parts) -> list[dict[str, Any]]:
    return [listener for listener in p.all(LISTENER) if listener["Protocol"] == "HTTPS"]


def is_rotated(p: Parts) -> bool:
    return len(p.all("SecretsManager::RotationSchedule")) == len(p.all(SECRET))


def refuses_plain_http(p: Parts) -> bool:
    policies = [json.dumps(part["PolicyDocument"]) for part in p.all("S3::BucketPolicy")]
    return len(policies) == len(p.all("S3::Bucket")) and all(
        '"aws:SecureTransport": "false"' in text for text in policies
    )


CONTROLS: dict[str, Callable[[Parts], bool]] = {
    "EC2.2": lambda p: bool(p.all("EC2::SecurityGroupIngress")),
    "EC2.6": lambda p: p.has("EC2::FlowLog", "ResourceType", "VPC"),
    "EC2.10": lambda p: "ec2" in p.endpoints(),
    "EC2.15": lambda p: p.has("EC2::Subnet", "MapPublicIpOnLaunch", False),
    "EC2.18": lambda p: open_ports(p) <= {80, 443},
    "EC2.19": lambda p: not open_ports(p) & {20, 21, 22, 23, 25, 3306, 3389, 5432, 8080},
    "EC2.21": lambda p: not p.all("EC2::NetworkAclEntry"),
    "EC2.55": lambda p: "ecr.api" in p.endpoints(),
    "EC2.56": lambda p: "ecr.dkr" in p.endpoints(),
    "EC2.57": lambda p: "ssm" in p.endpoints(),
    "EC2.58": lambda p: "ssm-contacts" in p.endpoints(),
    "EC2.60": lambda p: "ssm-incidents" in p.endpoints(),
    "EC2.172": lambda p: not p.all("EC2::InternetGateway"),
    "ECR.1": lambda p: p.has(IMAGES, "ImageScanningConfiguration", {"ScanOnPush": True}),
    "ECR.2": lambda p: p.has(IMAGES, "ImageTagMutability", "IMMUTABLE"),
    "ECR.3": lambda p: bool(p.one(IMAGES)["LifecyclePolicy"]),
    "ECS.2": lambda p: p.one(SERVICE)["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED",
    "ECS.3": lambda p: p.one(TASK).get("PidMode") != "host",
    "ECS.4": lambda p: not any(c.get("Privileged") for c in p.containers()),
    "ECS.5": lambda p: all(c["ReadonlyRootFilesystem"] is True for c in p.containers()),
    "ECS.8": lambda p: (
        not any(
            "PASSWORD" in variable["Name"]
            or "SECRET_KEY" in variable["Name"]
            or variable["Name"].startswith("AWS_SECRET")
            for c in p.containers()
            for variable in c["Environment"]
        )
    ),
    "ECS.9": lambda p: all(c["LogConfiguration"]["LogDriver"] == "awslogs" for c in p.containers()),
    "ECS.10": lambda p: p.has(SERVICE, "PlatformVersion", "1.4.0"),
    "ECS.12": lambda p: p.one("ECS::Cluster")["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enabled"}],
    "ECS.17": lambda p: p.has(TASK, "NetworkMode", "awsvpc"),
    "ECS.20": lambda p: all(not c["User"].startswith(("0", "root")) for c in p.containers()),
    "ELB.1": lambda p: all(
        listener["DefaultActions"][0]["Type"] == "redirect"
        for listener in p.all(LISTENER)
        if listener["Protocol"] == "HTTP"
    ),
    "ELB.4": lambda p: p.balancer("routing.http.drop_invalid_header_fields.enabled") == "true",
    "ELB.5": lambda p: p.balancer("access_logs.s3.enabled") == "true",
    "ELB.6": lambda p: p.balancer("deletion_protection.enabled") == "true",
    "ELB.12": lambda p: p.balancer("routing.http.desync_mitigation_mode") != "monitor",
    "ELB.13": lambda p: len({str(part["AvailabilityZone"]) for part in p.all("EC2::Subnet")}) > 1,
    "ELB.17": lambda p: (
        bool(https(p)) and all(part["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06" for part in https(p))
    ),
    "ELB.18": lambda p: len(https(p)) == len(p.all(LISTENER)),
    "ELB.21": lambda p: p.has(TARGETS, "HealthCheckProtocol", "HTTPS"),
    "ELB.22": lambda p: p.has(TARGETS, "Protocol", "HTTPS"),
    "IAM.1": lambda p: not any(s["Action"] == "*" for s in p.statements()),
    "IAM.21": lambda p: not any(":*" in json.dumps(s["Action"]) for s in p.statements()),
    "KMS.2": lambda p: not any("kms:" in json.dumps(s["Action"]) and s["Resource"] == "*" for s in p.statements()),
    "KMS.5": lambda p: all(
        s["Principal"] not in ("*", {"AWS": "*"}) for s in p.one("KMS::Key")["KeyPolicy"]["Statement"]
    ),
    "Lambda.1": lambda p: all("SourceAccount" in part for part in p.all("Lambda::Permission")),
    "Lambda.2": lambda p: p.has("Lambda::Function", "Runtime", "python3.13"),
    "RDS.2": lambda p: p.has(DATABASE, "PubliclyAccessible", False),
    "RDS.3": lambda p: p.has(DATABASE, "StorageEncrypted"),
    "RDS.5": lambda p: p.has(DATABASE, "MultiAZ"),
    "RDS.6": lambda p: bool(p.one(DATABASE).get("MonitoringInterval")),
    "RDS.8": lambda p: p.has(DATABASE, "DeletionProtection"),
    "RDS.9": lambda p: {"postgresql", "upgrade"} <= set(p.log_exports()),
    "RDS.10": lambda p: p.has(DATABASE, "EnableIAMDatabaseAuthentication"),
    "RDS.11": lambda p: p.one(DATABASE)["BackupRetentionPeriod"] >= 7,
    "RDS.13": lambda p: p.has(DATABASE, "AutoMinorVersionUpgrade"),
    "RDS.17": lambda p: p.has(DATABASE, "CopyTagsToSnapshot"),
    "RDS.20": lambda p: bool(p.all("RDS::EventSubscription")),
    "RDS.21": lambda p: bool(p.all("RDS::EventSubscription")),
    "RDS.23": lambda p: p.one(DATABASE).get("Port", "5432") != "5432",
    "RDS.25": lambda p: p.one(DATABASE)["MasterUsername"] not in ("postgres", "admin"),
    "RDS.36": lambda p: "postgresql" in p.log_exports(),
    "RDS.38": lambda p: p.one("RDS::DBParameterGroup")["Parameters"]["rds.force_ssl"] == "1",
    "RDS.46": lambda p: "PrivateSubnets" in json.dumps(p.one("RDS::DBSubnetGroup")["SubnetIds"]),
    "S3.5": refuses_plain_http,
    "S3.8": lambda p: p.has("S3::Bucket", "PublicAccessBlockConfiguration", NO_PUBLIC_ACCESS),
    "S3.9": lambda p: all("LoggingConfiguration" in part for part in p.all("S3::Bucket")),
    "S3.12": lambda p: p.has(
        "S3::Bucket", "OwnershipControls", {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    ),
    "S3.13": lambda p: all(part["LifecycleConfiguration"] for part in p.all("S3::Bucket")),
    "SecretsManager.1": is_rotated,
    "SecretsManager.4": is_rotated,
    "SNS.4": lambda p: (
        not any(
            s["Principal"] == "*" or "Condition" not in s
            for s in p.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"]
        )
    ),
    "WAF.10": lambda p: bool(p.all("WAFv2::WebACL")) and all(acl["Rules"] for acl in p.all("WAFv2::WebACL")),
    "WAF.12": lambda p: (
        bool(p.all("WAFv2::WebACL"))
        and all(
            rule["VisibilityConfig"]["CloudWatchMetricsEnabled"]
            for acl in p.all("WAFv2::WebACL")
            for rule in acl["Rules"]
        )
    ),
}
HARDENED = PROD | {"network_mode": "endpoints", "managed_rules": True, "flow_logs": "ALL"}


def rows(status: str) -> list[tuple[str, str]]:
    """Return control and last column of the rows with a status."""
    return [(control, last) for control, _, state, last in ROWS if state == status]


def test_page_has_every_control_and_knows_no_other() -> None:
    assert {row[0] for row in ROWS} == set(CONTROLS)
    assert {row[2] for row in ROWS} == {"passed", "prod", "option", "refused"}


@pytest.mark.parametrize("control", [control for control, _ in rows("passed")])
def test_control_passes_everywhere(control: str) -> None:
    for settings in ({}, PROD, HARDENED):
        assert CONTROLS[control](parts(**settings))


@pytest.mark.parametrize("control", [control for control, _ in rows("prod")])
def test_control_passes_in_production(control: str) -> None:
    assert not CONTROLS[control](parts())
    assert CONTROLS[control](parts(**PROD))


@pytest.mark.parametrize(("control", "option"), rows("option"))
def test_control_passes_with_its_option(control: str, option: str) -> None:
    (assignment,) = re.findall(r"`(\w+=[^`]+)`", option)
    name, _, value = assignment.partition("=")
    chosen = Settings().with_assignment(f"{name}={CERTIFICATE if value == '…' else value}")
    changed = {
        field: getattr(chosen, field)
        for field in Settings.__slots__
        if getattr(chosen, field) != getattr(Settings(), field)
    }
    assert changed
    assert not CONTROLS[control](parts())
    assert CONTROLS[control](parts(**changed))


@pytest.mark.parametrize(("control", "reason"), rows("refused"))
def test_refused_control_has_its_reason_in_the_template(control: str, reason: str) -> None:
    assert not CONTROLS[control](parts(**HARDENED))
    named = re.fullmatch(r"`(\w+)`: (.+)", reason)
    assert named
    metadata = parts().found[named[1]]["Metadata"]
    skips = [skip["comment"] for skip in metadata.get("checkov", {}).get("skip", [])]
    own = metadata.get("SecurityHub", {}).get("refused", {}).get(control)
    assert own == named[2] if own else named[2] in skips


def test_every_refusal_of_the_templates_is_on_the_page() -> None:
    refused = {
        (control, f"`{name}`: {reason}")
        for name, part in parts().found.items()
        for control, reason in part.get("Metadata", {}).get("SecurityHub", {}).get("refused", {}).items()
    }
    assert refused
    assert refused <= set(rows("refused"))
