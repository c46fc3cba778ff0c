"""A customer key in KMS for an environment's data, and who may use it. It is deployed before the data stack."""

from __future__ import annotations

from troposphere import Equals, GetAtt, If, Not, NoValue, Parameter, Ref, Sub, Template, iam, kms, s3

from cloudformation import standalone
from cloudformation.config import PATTERNS
from cloudformation.links import KEPT, export, tags
from cloudformation.standalone import new_template

HAS_KEY = "HasKey"


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_KEY, Not(Equals(Ref("KeyArn"), "")))


def add_parameter(template: Template) -> None:
    """Add the parameter KeyArn to a template that is deployed by itself."""
    standalone.add_parameter(
        template,
        Parameter(
            "KeyArn",
            Type="String",
            Default="",
            AllowedPattern=f"^({PATTERNS['key_arn'][0]})$",
            Description="The customer key of the data stack, if it has one.",
        ),
    )


def key_or(other: object = NoValue) -> If:
    """Return the customer key's ARN if there is one, else `other`."""
    return If(HAS_KEY, Ref("KeyArn"), other)


def bucket_encryption() -> s3.BucketEncryption:
    """Return how a bucket encrypts: with the customer key if there is one, else with S3's own."""
    with_key = s3.ServerSideEncryptionRule(
        BucketKeyEnabled=True,  # one call of KMS for many objects
        ServerSideEncryptionByDefault=s3.ServerSideEncryptionByDefault(
            SSEAlgorithm="aws:kms", KMSMasterKeyID=Ref("KeyArn")
        ),
    )
    without = s3.ServerSideEncryptionRule(
        ServerSideEncryptionByDefault=s3.ServerSideEncryptionByDefault(SSEAlgorithm="AES256")
    )
    return s3.BucketEncryption(ServerSideEncryptionConfiguration=[If(HAS_KEY, with_key, without)])


def use_through(service: str, *actions: object) -> dict[str, object]:
    """Return the statement that lets a role use the customer key by way of one service only."""
    return {
        "Sid": "UseKey",
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": Ref("KeyArn"),
        "Condition": {"StringEquals": {"kms:ViaService": Sub(f"{service}.${{AWS::Region}}.amazonaws.com")}},
    }


def add_role_policies(template: Template, execution: iam.Role, task: iam.Role, *, may_upload: str) -> None:
    """Let the roles read what the customer key encrypts: secrets the one, models the other."""
    write = If(may_upload, "kms:GenerateDataKey", NoValue)
    for name, role, statement in (
        ("DecryptSecrets", execution, use_through("secretsmanager", "kms:Decrypt")),
        ("DecryptModels", task, use_through("s3", "kms:Decrypt", write)),
    ):
        document = {"Version": "2012-10-17", "Statement": [statement]}
        template.add_resource(
            iam.PolicyType(name, Condition=HAS_KEY, PolicyName=name, PolicyDocument=document, Roles=[Ref(role)])
        )


def key_stack() -> Template:
    """Return the template of the key, with its alias."""
    template = new_template("mlapi: the customer key that encrypts an environment's data")
    key = template.add_resource(
        kms.Key(
            "Key",
            DeletionPolicy=KEPT,  # without it the data cannot be read any more
            UpdateReplacePolicy="Retain",
            Description=Sub("Data of ${ProjectName} ${EnvironmentName}"),
            EnableKeyRotation=True,
            PendingWindowInDays=30,
            KeyPolicy={"Version": "2012-10-17", "Statement": [_account(), _logs(), _alarms()]},
            Tags=tags("key"),
        )
    )
    template.add_resource(
        kms.Alias("Alias", AliasName=Sub("alias/${ProjectName}-${EnvironmentName}"), TargetKeyId=Ref(key))
    )
    export(template, "KeyArn", GetAtt(key, "Arn"), "The parameter KeyArn of a deployment")
    return template


def _account() -> dict[str, object]:
    # The account's own policies decide further: the roles' are in the service stack.
    return {
        "Sid": "PoliciesOfThisAccount",
        "Effect": "Allow",
        "Principal": {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
        "Action": "kms:*",
        "Resource": "*",
    }


def _logs() -> dict[str, object]:
    groups = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${ProjectName}-${EnvironmentName}-*"
    return {
        "Sid": "LogGroups",
        "Effect": "Allow",
        "Principal": {"Service": Sub("logs.${AWS::Region}.amazonaws.com")},
        "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        "Resource": "*",
        "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": Sub(groups)}},
    }


def _alarms() -> dict[str, object]:
    return {
        "Sid": "AlarmsToTheTopic",
        "Effect": "Allow",
        "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}},
    }
