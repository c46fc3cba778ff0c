"""Rotation of the database role's password, and new tasks whenever a secret of the service changes.

Secrets Manager tells of a changed secret by an event. Both functions stay outside of the network: they speak to AWS
alone, so a rotation needs no NAT gateway and no endpoint.
"""

from __future__ import annotations

from pathlib import Path

from troposphere import GetAtt, If, NoValue, Output, Parameter, Ref, Sub, Template, awslambda, events
from troposphere import secretsmanager as sm

from cloudformation import key
from cloudformation.canary import service_role, source, write_lambda_logs
from cloudformation.key import HAS_KEY, use_through
from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, SERVICE_STACK
from cloudformation.standalone import add_parameter, new_template

_SOURCE = Path(__file__).with_name("rotation_function.py")
_SECONDS = 30
# Tasks read these at their start.
SECRETS = ("RegistryCredentialsArn", "DjangoSecretKeyArn")


def rotation_stack() -> Template:
    """Return the template of the rotation and of what replaces the tasks."""
    template = new_template("mlapi: rotation of the database password, and new tasks after a secret changed")
    _add_parameters(template)
    key.add_conditions(template)
    rotator = _add_function(template, "Rotator", "rotate", "RotatePassword", _rotate())
    redeployer = _add_function(template, "Redeployer", "redeploy", "ReplaceTasks", _replace_tasks())
    secret = imported(DATA_STACK, SECRETS[0])
    may_call = _add_permission(template, rotator, "secretsmanager", secret)
    template.add_resource(
        sm.RotationSchedule(
            "RotationSchedule",
            DependsOn=may_call.title,
            SecretId=secret,
            RotationLambdaARN=GetAtt(rotator, "Arn"),
            RotateImmediatelyOnUpdate=False,
            RotationRules=sm.RotationRules(AutomaticallyAfterDays=Ref("RotationDays")),
        )
    )
    rule = template.add_resource(_rule(redeployer))
    _add_permission(template, redeployer, "events", GetAtt(rule, "Arn"))
    template.add_output(Output("Rotator", Value=Ref(rotator), Description="The function that rotates the password"))
    return template


def _add_parameters(template: Template) -> None:
    for parent in (DATA_STACK, SERVICE_STACK):
        what = parent.removesuffix("Stack").lower()
        description = f"Name of the {what} stack, whose exports this one uses."
        add_parameter(template, Parameter(parent, Type="String", Default=f"mlapi-dev-{what}", Description=description))
    add_parameter(
        template,
        Parameter(
            "RotationDays",
            Type="Number",
            Default=30,
            MinValue=1,
            MaxValue=90,
            Description="Days from one password to the next; Security Hub asks for 90 or fewer.",
        ),
    )
    key.add_parameter(template)


def _add_function(
    template: Template, name: str, handler: str, policy: str, statements: list[object]
) -> awslambda.Function:
    role = template.add_resource(service_role(f"{name}Role", "lambda", policy, [*write_lambda_logs(), *statements]))
    return template.add_resource(
        awslambda.Function(
            name,
            Runtime="python3.13",
            Architectures=["arm64"],
            Handler=f"index.{handler}",
            Timeout=_SECONDS,
            Role=GetAtt(role, "Arn"),
            Code=awslambda.Code(ZipFile=source(_SOURCE)),
            Metadata=skipped_checks(
                CKV_AWS_115="It runs once a rotation; reserved capacity would be taken from other functions",
                CKV_AWS_116="Its caller tries again by itself, and a rotation that failed is tried again the next day",
                CKV_AWS_117="It calls AWS alone; in the network it would need a NAT gateway or endpoints",
            ),
            Tags=tags(name.lower()),
        )
    )


def _add_permission(
    template: Template, function: awslambda.Function, service: str, arn: object
) -> awslambda.Permission:
    return template.add_resource(
        awslambda.Permission(
            f"{function.title}Caller",
            Action="lambda:InvokeFunction",
            FunctionName=GetAtt(function, "Arn"),
            Principal=f"{service}.amazonaws.com",
            SourceAccount=Ref("AWS::AccountId"),
            SourceArn=arn,
        )
    )


def _rule(redeployer: awslambda.Function) -> events.Rule:
    named = '{"cluster": "${Cluster}", "service": "${Service}"}'
    return events.Rule(
        "SecretChanged",
        Description="A secret of the service has a new value",
        EventPattern={
            "source": ["aws.secretsmanager"],
            "detail-type": ["Secret Label Updated"],
            "resources": [imported(DATA_STACK, name) for name in SECRETS],
            "detail": {"labelUpdated": ["AWSCURRENT"]},
        },
        Targets=[
            events.Target(
                Id="Redeployer",
                Arn=GetAtt(redeployer, "Arn"),
                Input=Sub(
                    named,
                    {"Cluster": imported(SERVICE_STACK, "Cluster"), "Service": imported(SERVICE_STACK, "Service")},
                ),
            )
        ],
    )


def _rotate() -> list[object]:
    return [
        {
            "Sid": "RotatePassword",
            "Effect": "Allow",
            "Action": [
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            "Resource": imported(DATA_STACK, SECRETS[0]),
        },
        {
            "Sid": "MakePassword",  # it knows no resource
            "Effect": "Allow",
            "Action": "secretsmanager:GetRandomPassword",
            "Resource": "*",
        },
        If(HAS_KEY, use_through("secretsmanager", "kms:Decrypt", "kms:GenerateDataKey"), NoValue),
    ]


def _replace_tasks() -> list[object]:
    service = imported(SERVICE_STACK, "ServiceArn")
    return [{"Sid": "ReplaceTasks", "Effect": "Allow", "Action": "ecs:UpdateService", "Resource": service}]
