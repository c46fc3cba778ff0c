"""The templates and their policies before the tools that AWS's users trust: no findings, no skip without a reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cloudformation.stacks import TEMPLATE_MAKERS, TEMPLATES
from tests.cloudformation.conftest import CHECKOV, TOOLS
from tests.cloudformation.resolving import resources

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:more-AbCdEf"
# Every condition at least once on and once off.
CONFIGURATIONS: list[dict[str, Any]] = [
    {},
    {"create_database": False, "use_spot": True, "max_tasks": 1},
    {
        "allow_admin_upload": True,
        "secret_variables_arn": SECRET,
        "enable_exec": True,
        "alarm_email": "ops@example.com",
        "rate_limit": 100,
        "flow_logs": "ALL",
        "managed_rules": True,
        "key_arn": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    },
    {"door": "http-api", "admin_cidr": "203.0.113.7/32"},
]


def test_cfn_lint_has_no_findings() -> None:
    files = [str(TEMPLATES / f"{name}.yaml") for name in TEMPLATE_MAKERS]
    done = subprocess.run([TOOLS / "cfn-lint", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(400)  # reading its rules takes it a while
def test_checkov_has_no_findings_and_uses_every_skip() -> None:
    done = subprocess.run(
        [
            CHECKOV / "python", CHECKOV / "checkov", "--directory", TEMPLATES, "--framework", "cloudformation",
            "--skip-download", "--output", "json",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)["results"]
    assert [(check["check_id"], check["resource"]) for check in report["failed_checks"]] == []
    used = {(check["check_id"], check["resource"].rpartition(".")[2]) for check in report["skipped_checks"]}
    assert used == {(skip["id"], name) for name, skip in declared_skips()}


def test_every_skip_gives_its_reason() -> None:
    skips = list(declared_skips())
    assert skips
    assert all(len(skip["comment"]) > 20 for _, skip in skips)


def declared_skips() -> list[tuple[str, dict[str, str]]]:
    return [
        (name, skip)
        for make in TEMPLATE_MAKERS.values()
        for name, part in make().to_dict()["Resources"].items()
        for skip in part.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]


def test_parliament_has_no_findings_in_any_policy(tmp_path: Path) -> None:
    documents = {
        (name, json.dumps(document)): document
        for settings in CONFIGURATIONS
        for stack in ("data", "service")
        for name, part in resources(stack, **settings).items()
        for document in permissions(part)
    }
    assert len(documents) >= 6
    for number, (key, document) in enumerate(documents.items()):
        (tmp_path / f"{key[0]}-{number}.json").write_text(json.dumps(concrete(document)))
    # an action that does not exist would be found, so silence means something
    done = parliament(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "wrong.json").write_text(
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:NoSuchCall", "Resource": "*"}]}'
    )
    assert "Unknown action s3:NoSuchCall" in parliament(tmp_path).stdout


def parliament(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / "python", TOOLS / "parliament", "--directory", folder], capture_output=True, text=True, check=False
    )


def permissions(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the identity policies of a resource."""
    properties = part.get("Properties", {})
    if part["Type"] == "AWS::IAM::Role":
        return [policy["PolicyDocument"] for policy in properties["Policies"]]
    if part["Type"] == "AWS::IAM::Policy":
        return [properties["PolicyDocument"]]
    return []


ARNS = {
    "RepositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/images",
    "ModelBucketArn": "arn:aws:s3:::models",
    "SecretKeyArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf",
    "PasswordArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:password-AbCdEf",
    "RegistryCredentialsArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:registry-AbCdEf",
    "DatabaseCredentialsArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:database-AbCdEf",
    "ModelPrefix": "models",
    "ServiceArn": "arn:aws:ecs:us-east-1:123456789012:service/cluster/service",
}


def concrete(value: Any) -> Any:
    """Return a policy with the functions left in it replaced by names such as AWS would give."""
    if isinstance(value, list):
        return [concrete(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::ImportValue" in value:
        (arn,) = [arn for suffix, arn in ARNS.items() if str(value["Fn::ImportValue"]).endswith(suffix)]
        return arn
    if "Fn::GetAtt" in value:
        return "arn:aws:logs:us-east-1:123456789012:log-group:service:*"
    if isinstance(value.get("Fn::Sub"), str):
        return value["Fn::Sub"].replace("${AWS::Region}", "us-east-1")
    if "Fn::Sub" in value:
        text, names = value["Fn::Sub"]
        for name, inner in names.items():
            text = text.replace(f"${{{name}}}", concrete(inner))
        return text
    return {key: concrete(item) for key, item in value.items()}


@pytest.mark.parametrize("stack", ["data"])
def test_resource_policies_name_their_callers_or_refuse(stack: str) -> None:
    for part in resources(stack).values():
        if part["Type"] != "AWS::S3::BucketPolicy":
            continue
        for statement in part["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Deny" or set(statement["Principal"]) == {"Service"}
