"""A bucket of a stack of its own: its files expire, and the service may do there what the stack says."""

from __future__ import annotations

from collections.abc import Sequence

from troposphere import GetAtt, If, NoValue, Parameter, Ref, Select, Split, Sub, Template, iam, s3

from cloudformation import key
from cloudformation.links import imported, skipped_checks
from cloudformation.parameters import SERVICE_STACK
from cloudformation.s3 import add_policy, bucket_properties, tls_only
from cloudformation.standalone import add_parameter

MAX_RETENTION_DAYS = 3650


def add_parameters(template: Template, *, expires: str) -> None:
    """Add the service's stack, the days after which files expire, which `expires` describes, and the key."""
    description = "Name of the service stack, whose exports this one uses."
    add_parameter(
        template, Parameter(SERVICE_STACK, Type="String", Default="mlapi-dev-service", Description=description)
    )
    add_parameter(
        template,
        Parameter(
            "RetentionDays", Type="Number", Default=30, MinValue=1, MaxValue=MAX_RETENTION_DAYS, Description=expires
        ),
    )
    key.add_parameter(template)
    key.add_conditions(template)


def add_bucket(template: Template, title: str, *, tag: str, rule: str) -> s3.Bucket:
    """Add the bucket, with the lifecycle rule of this name."""
    bucket = template.add_resource(
        s3.Bucket(
            title,
            **(bucket_properties(tag) | {"BucketEncryption": key.bucket_encryption()}),
            LifecycleConfiguration=s3.LifecycleConfiguration(
                Rules=[
                    s3.LifecycleRule(
                        Id=rule,
                        Status="Enabled",
                        ExpirationInDays=Ref("RetentionDays"),
                        # What has expired, or was deleted at somebody's request, is gone a day later.
                        NoncurrentVersionExpiration=s3.NoncurrentVersionExpiration(NoncurrentDays=1),
                        AbortIncompleteMultipartUpload=s3.AbortIncompleteMultipartUpload(DaysAfterInitiation=1),
                    )
                ]
            ),
            Metadata=skipped_checks(CKV_AWS_18="The service alone reads it, and its own log lines say for whom"),
        )
    )
    add_policy(template, bucket, [tls_only(bucket)])
    return bucket


def let_service(
    template: Template, bucket: s3.Bucket, actions: Sequence[str], *, name: str, sids: tuple[str, str]
) -> None:
    """Let the service list the bucket, and do `actions` to its objects."""
    objects, listing = sids
    statements = [
        {"Sid": objects, "Effect": "Allow", "Action": list(actions), "Resource": Sub(f"${{{bucket.title}.Arn}}/*")},
        {"Sid": listing, "Effect": "Allow", "Action": "s3:ListBucket", "Resource": GetAtt(bucket, "Arn")},
        If(key.HAS_KEY, key.use_through("s3", "kms:Decrypt", "kms:GenerateDataKey"), NoValue),
    ]
    template.add_resource(
        iam.PolicyType(
            name,
            PolicyName=name,
            PolicyDocument={"Version": "2012-10-17", "Statement": statements},
            # The part of an ARN behind the slash is the role's name.
            Roles=[Select(1, Split("/", imported(SERVICE_STACK, "TaskRoleArn")))],
        )
    )
