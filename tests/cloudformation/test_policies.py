"""Properties 18 and 19 tried: the roles' policies, read back after a real deployment, decide calls.

The API's SimulatePrincipalPolicy answers where a call needs no context; where it does (a listing's prefix), the
same engine is asked with that context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from cloudformation.config import Settings
from cloudformation.stacks import TEMPLATES
from tests.cloudformation.conftest import ACCOUNT, REGION, Emulator
from tests.cloudformation.deciding import Call, decide


@dataclass(frozen=True)
class Roles:
    """The roles of one deployment, and the names that their policies speak of."""

    aws: Emulator
    task: str
    execution: str
    bucket: str
    repository: str
    log_group: str
    secrets: dict[str, str]

    def simulate(self, role: str, action: str, resource: str) -> str:
        """Return what the API call SimulatePrincipalPolicy decides."""
        answer = self.aws.client("iam").simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", ActionNames=[action], ResourceArns=[resource]
        )
        decision: str = answer["EvaluationResults"][0]["EvalDecision"]
        return decision

    def decide(self, role: str, calls: list[Call]) -> list[str]:
        """Return what the policies of a role decide."""
        return decide(self.aws, role, calls)


@pytest.fixture(scope="module")
def roles(emulator: Emulator) -> Roles:
    return deployed_roles(emulator, Settings(project_name="policies", image_tag="v1"))


@pytest.fixture(scope="module")
def uploading_roles(emulator: Emulator, roles: Roles) -> Roles:
    del roles  # the same data below
    return deployed_roles(emulator, Settings(project_name="policies", image_tag="v1", allow_admin_upload=True), "up")


def deployed_roles(aws: Emulator, settings: Settings, service_project: str = "") -> Roles:
    network = aws.deploy_once(settings, "network", {})
    data = aws.deploy_once(settings, "data", {})
    named = replace(settings, project_name=service_project or settings.project_name)
    service = aws.deploy_once(named, "service", {"NetworkStack": network, "DataStack": data})
    parts, outputs = aws.resources(service), aws.outputs(data)
    return Roles(
        aws=aws,
        task=parts["TaskRole"],
        execution=parts["ExecutionRole"],
        bucket=outputs["ModelBucketArn"],
        repository=outputs["RepositoryArn"],
        log_group=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{parts['LogGroup']}",
        secrets={name: outputs[name] for name in outputs if name.endswith(("KeyArn", "PasswordArn", "CredentialsArn"))},
    )


def roles_beside(aws: Emulator, stack: str, template: str, **parameters: object) -> Roles:
    """Return the roles of a service that has a further `stack`, named PROJECT-dev-NAME, of a template."""
    project = stack.partition("-")[0]
    found = deployed_roles(aws, Settings(project_name=project, image_tag="v1"))
    given = {"ProjectName": project, "ServiceStack": f"{project}-dev-service", **parameters}
    done = aws.run(
        "aws", "cloudformation", "deploy", "--stack-name", stack, "--capabilities", "CAPABILITY_IAM",
        "--template-file", str(TEMPLATES / template),
        "--parameter-overrides", *[f"{name}={value}" for name, value in given.items()],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return found


def act_on_the_emulator(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the emulator's addresses and credentials."""
    for name, value in roles.aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    # The storage's own tests name another server, which goes before.
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)


def test_service_may_read_the_models_under_the_prefix(roles: Roles) -> None:
    for action in ("s3:GetObject", "s3:GetObjectVersion"):
        assert roles.simulate(roles.task, action, f"{roles.bucket}/models/digits/model.joblib") == "allowed"


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "{bucket}/other/model.joblib"),
        ("s3:GetObject", "{bucket}/models-of-others/model.joblib"),
        ("s3:GetObject", "arn:aws:s3:::another-bucket/models/digits/model.joblib"),
        ("s3:PutObject", "{bucket}/models/digits/model.joblib"),
        ("s3:DeleteObject", "{bucket}/models/digits/model.joblib"),
        ("s3:DeleteObjectVersion", "{bucket}/models/digits/model.joblib"),
        ("s3:PutBucketPolicy", "{bucket}"),
        ("s3:PutBucketVersioning", "{bucket}"),
        ("secretsmanager:GetSecretValue", "{secret}"),
        ("ecr:BatchGetImage", "{repository}"),
        ("iam:PassRole", "*"),
        ("sts:AssumeRole", "*"),
        ("rds:DescribeDBInstances", "*"),
        ("ssmmessages:OpenDataChannel", "*"),
    ],
)
def test_service_may_do_nothing_else(roles: Roles, action: str, resource: str) -> None:
    named = resource.format(bucket=roles.bucket, secret=roles.secrets["AdminPasswordArn"], repository=roles.repository)
    assert roles.simulate(roles.task, action, named) == "implicitDeny"


def test_service_may_list_under_the_prefix_only(roles: Roles) -> None:
    listings = ["models/", "models/digits/", "", "models", "other/", "models-of-others/"]
    for action in ("s3:ListBucket", "s3:ListBucketVersions"):
        calls = [(action, roles.bucket, {"s3:prefix": prefix}) for prefix in listings]
        assert roles.decide(roles.task, calls) == ["Allow"] * 2 + ["ImplicitDeny"] * 4


def test_uploads_reach_the_prefix_only_and_deletes_stay_denied(uploading_roles: Roles) -> None:
    roles = uploading_roles
    models = f"{roles.bucket}/models/digits/model.joblib"
    assert roles.simulate(roles.task, "s3:PutObject", models) == "allowed"
    assert roles.simulate(roles.task, "s3:PutObject", f"{roles.bucket}/other/x.joblib") == "implicitDeny"
    assert roles.simulate(roles.task, "s3:DeleteObject", models) == "implicitDeny"


def test_execution_role_pulls_that_repositorys_images_only(roles: Roles) -> None:
    other = roles.repository.rpartition("/")[0] + "/another"
    for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"):
        assert roles.simulate(roles.execution, action, roles.repository) == "allowed"
        assert roles.simulate(roles.execution, action, other) == "implicitDeny"
    assert roles.simulate(roles.execution, "ecr:GetAuthorizationToken", "*") == "allowed"
    assert roles.simulate(roles.execution, "ecr:PutImage", roles.repository) == "implicitDeny"


def test_execution_role_reads_its_secrets_and_writes_its_log(roles: Roles) -> None:
    assert len(roles.secrets) == 4
    for secret in roles.secrets.values():
        assert roles.simulate(roles.execution, "secretsmanager:GetSecretValue", secret) == "allowed"
        assert roles.simulate(roles.execution, "secretsmanager:PutSecretValue", secret) == "implicitDeny"
    other = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:another-AbCdEf"
    assert roles.simulate(roles.execution, "secretsmanager:GetSecretValue", other) == "implicitDeny"
    stream = f"{roles.log_group}:log-stream:mlapi/mlapi/1"
    assert roles.simulate(roles.execution, "logs:PutLogEvents", stream) == "allowed"
    assert roles.simulate(roles.execution, "logs:PutLogEvents", stream.replace("LogGroup", "Other")) == "implicitDeny"
    assert roles.simulate(roles.execution, "logs:DeleteLogGroup", roles.log_group) == "implicitDeny"
    assert roles.simulate(roles.execution, "s3:GetObject", f"{roles.bucket}/models/digits/m.joblib") == "implicitDeny"
