"""Two roles: one that starts the tasks, one that the service itself acts under. Each may do what is listed here."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Not, NoValue, Ref, Sub, Template, iam, logs

from cloudformation import key
from cloudformation.links import imported, tags
from cloudformation.parameters import DATA_STACK

HAS_DATABASE, HAS_BOUNDARY, MAY_UPLOAD, HAS_EXEC = "HasDatabase", "HasBoundary", "MayUpload", "HasExec"
HAS_SECRETS = "HasSecretVariables"


@dataclass(frozen=True, slots=True)
class Roles:
    execution: iam.Role
    task: iam.Role


def add_conditions(template: Template) -> None:
    """Name what the parameters mean for permissions."""
    template.add_condition(HAS_DATABASE, Equals(Ref("CreateDatabase"), "true"))
    template.add_condition(HAS_BOUNDARY, Not(Equals(Ref("PermissionsBoundaryArn"), "")))
    template.add_condition(MAY_UPLOAD, Equals(Ref("AllowAdminUpload"), "true"))
    template.add_condition(HAS_SECRETS, Not(Equals(Ref("SecretVariablesArn"), "")))
    template.add_condition(HAS_EXEC, Equals(Ref("EnableExec"), "true"))


def add_roles(template: Template, log_group: logs.LogGroup, *, signs_in: bool = False) -> Roles:
    """Add the execution role and the task role."""
    execution = _add_role(
        template,
        "ExecutionRole",
        {"PullImage": _pull_image(), "WriteLogs": _write_logs(log_group), "ReadSecrets": _read_secrets(signs_in)},
    )
    task = _add_role(template, "TaskRole", {"ReadModels": _read_models()})
    _add_conditional_policy(template, task, "UploadModels", MAY_UPLOAD, _upload_models())
    _add_conditional_policy(template, task, "OpenShell", HAS_EXEC, _open_shell())
    key.add_role_policies(template, execution, task, may_upload=MAY_UPLOAD)
    return Roles(execution=execution, task=task)


def _add_role(template: Template, name: str, policies: dict[str, list[dict[str, object]]]) -> iam.Role:
    return template.add_resource(
        iam.Role(
            name,
            AssumeRolePolicyDocument=_document([_tasks_of_this_account()]),
            PermissionsBoundary=If(HAS_BOUNDARY, Ref("PermissionsBoundaryArn"), NoValue),
            Policies=[
                iam.Policy(PolicyName=policy, PolicyDocument=_document(statements))
                for policy, statements in policies.items()
            ],
            Tags=tags(name),
        )
    )


def _add_conditional_policy(
    template: Template, role: iam.Role, name: str, condition: str, statements: list[dict[str, object]]
) -> None:
    template.add_resource(
        iam.PolicyType(
            name,
            Condition=condition,
            PolicyName=name,
            PolicyDocument=_document(statements),
            Roles=[Ref(role)],
        )
    )


def _document(statements: list[dict[str, object]]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": statements}


def _tasks_of_this_account() -> dict[str, object]:
    # Without the condition another account could have ECS act under this role (the confused deputy).
    return {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")},
            "ArnLike": {"aws:SourceArn": Sub("arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:*")},
        },
    }


def _pull_image() -> list[dict[str, object]]:
    return [
        {
            "Sid": "LogInToEcr",  # the one call that knows no resource
            "Effect": "Allow",
            "Action": "ecr:GetAuthorizationToken",
            "Resource": "*",
        },
        {
            "Sid": "PullImage",
            "Effect": "Allow",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": imported(DATA_STACK, "RepositoryArn"),
        },
    ]


def _write_logs(log_group: logs.LogGroup) -> list[dict[str, object]]:
    return [
        {
            "Sid": "WriteLogs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": GetAtt(log_group, "Arn"),
        }
    ]


def _read_secrets(signs_in: bool) -> list[dict[str, object]]:
    return [
        {
            "Sid": "ReadSecrets",
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": [
                imported(DATA_STACK, "DjangoSecretKeyArn"),
                imported(DATA_STACK, "AdminPasswordArn"),
                If(HAS_DATABASE, imported(DATA_STACK, "DatabaseCredentialsArn"), NoValue),
                If(HAS_DATABASE, imported(DATA_STACK, "RegistryCredentialsArn"), NoValue),
                If(HAS_SECRETS, Ref("SecretVariablesArn"), NoValue),
                *([If("HasOidcClientSecret", Ref("OidcClientSecretArn"), NoValue)] if signs_in else []),
            ],
        }
    ]


def _models() -> Sub:
    return Sub(
        "${Bucket}/${Prefix}/*",
        {"Bucket": imported(DATA_STACK, "ModelBucketArn"), "Prefix": imported(DATA_STACK, "ModelPrefix")},
    )


def _read_models() -> list[dict[str, object]]:
    prefix = imported(DATA_STACK, "ModelPrefix")
    return [
        {
            "Sid": "ReadModels",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": _models(),
        },
        {
            "Sid": "ListModels",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
            "Resource": imported(DATA_STACK, "ModelBucketArn"),
            "Condition": {"StringLike": {"s3:prefix": [Sub("${Prefix}/*", {"Prefix": prefix})]}},
        },
    ]


def _upload_models() -> list[dict[str, object]]:
    return [{"Sid": "UploadModels", "Effect": "Allow", "Action": "s3:PutObject", "Resource": _models()}]


def _open_shell() -> list[dict[str, object]]:
    return [
        {
            "Sid": "OpenShell",
            "Effect": "Allow",
            "Action": [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "Resource": "*",
        }
    ]
