"""The buckets: the models, and the logs about who read them and who called the balancer."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, GetAtt, If, Ref, Sub, Template, s3

from cloudformation.key import bucket_encryption
from cloudformation.links import KEPT, skipped_checks, tags

MAKES_MODEL_BUCKET = "MakesModelBucket"
BALANCER_LOG_PREFIX = "alb"
FLOW_LOG_PREFIX = "vpc"
_ACCESS_LOG_PREFIX = "s3/"


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets; `name` and `arn` are those of the models' bucket, whether it is made here or was there before."""

    models: s3.Bucket
    logs: s3.Bucket
    name: If
    arn: If


def add_conditions(template: Template) -> None:
    template.add_condition(MAKES_MODEL_BUCKET, Equals(Ref("ExistingModelBucket"), ""))


def add_buckets(template: Template) -> Buckets:
    """Add both buckets: encrypted, never public, reached over TLS only, kept when the stack goes."""
    logs = template.add_resource(
        s3.Bucket(
            "LogBucket",
            **bucket_properties("logs"),
            LifecycleConfiguration=s3.LifecycleConfiguration(
                Rules=[
                    s3.LifecycleRule(
                        Id="ExpireLogs",
                        Status="Enabled",
                        ExpirationInDays=90,
                        NoncurrentVersionExpiration=s3.NoncurrentVersionExpiration(NoncurrentDays=7),
                        AbortIncompleteMultipartUpload=s3.AbortIncompleteMultipartUpload(DaysAfterInitiation=7),
                    )
                ]
            ),
            Metadata=skipped_checks(CKV_AWS_18="It is where the access logs go; logging it into itself would not end"),
        )
    )
    models = template.add_resource(
        s3.Bucket(
            "ModelBucket",
            Condition=MAKES_MODEL_BUCKET,
            **(bucket_properties("models") | {"BucketEncryption": bucket_encryption()}),
            # Registered versions are pinned by their version id permanently, so no lifecycle rule may expire one.
            LifecycleConfiguration=s3.LifecycleConfiguration(
                Rules=[
                    s3.LifecycleRule(
                        Id="AbandonedUploads",
                        Status="Enabled",
                        AbortIncompleteMultipartUpload=s3.AbortIncompleteMultipartUpload(DaysAfterInitiation=7),
                    )
                ]
            ),
            # It costs nothing, and the stack notifications listens there.
            NotificationConfiguration=s3.NotificationConfiguration(
                EventBridgeConfiguration=s3.EventBridgeConfiguration(EventBridgeEnabled=True)
            ),
            LoggingConfiguration=s3.LoggingConfiguration(
                DestinationBucketName=Ref(logs), LogFilePrefix=_ACCESS_LOG_PREFIX
            ),
        )
    )
    existing = Sub("arn:${AWS::Partition}:s3:::${ExistingModelBucket}")
    arn = If(MAKES_MODEL_BUCKET, GetAtt(models, "Arn"), existing)
    add_policy(template, models, [tls_only(models)], Condition=MAKES_MODEL_BUCKET)
    callers = [_balancer_may_log(logs), _s3_may_log(logs, about=arn), *_network_may_log(logs)]
    add_policy(template, logs, [tls_only(logs), *callers])
    name = If(MAKES_MODEL_BUCKET, Ref(models), Ref("ExistingModelBucket"))
    return Buckets(models=models, logs=logs, name=name, arn=arn)


def bucket_properties(name: str) -> dict[str, object]:
    """Return what every bucket is: kept, versioned, encrypted, never public, owned by the account."""
    return {
        "DeletionPolicy": KEPT,
        "UpdateReplacePolicy": "Retain",
        "VersioningConfiguration": s3.VersioningConfiguration(Status="Enabled"),
        # the balancer's access logs can be written with S3's own keys only
        "BucketEncryption": s3.BucketEncryption(
            ServerSideEncryptionConfiguration=[
                s3.ServerSideEncryptionRule(
                    ServerSideEncryptionByDefault=s3.ServerSideEncryptionByDefault(SSEAlgorithm="AES256")
                )
            ]
        ),
        "PublicAccessBlockConfiguration": s3.PublicAccessBlockConfiguration(
            BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
        ),
        "OwnershipControls": s3.OwnershipControls(
            Rules=[s3.OwnershipControlsRule(ObjectOwnership="BucketOwnerEnforced")]
        ),
        "Tags": tags(name),
    }


def add_policy(template: Template, bucket: s3.Bucket, statements: list[dict[str, object]], **attributes: str) -> None:
    """Add the policy of a bucket, which is kept with it."""
    template.add_resource(
        s3.BucketPolicy(
            f"{bucket.title}Policy",
            # kept with its bucket: a kept bucket that lost its policy would accept plain HTTP again
            DeletionPolicy=KEPT,
            UpdateReplacePolicy="Retain",
            Bucket=Ref(bucket),
            **attributes,
            PolicyDocument={"Version": "2012-10-17", "Statement": statements},
        )
    )


def tls_only(bucket: s3.Bucket) -> dict[str, object]:
    """Return the statement that refuses plain HTTP."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [GetAtt(bucket, "Arn"), Sub(f"${{{bucket.title}.Arn}}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _balancer_may_log(logs: s3.Bucket) -> dict[str, object]:
    return {
        "Sid": "BalancerAccessLogs",
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": Sub(f"${{{logs.title}.Arn}}/{BALANCER_LOG_PREFIX}/AWSLogs/${{AWS::AccountId}}/*"),
    }


def _s3_may_log(logs: s3.Bucket, *, about: If) -> dict[str, object]:
    return {
        "Sid": "ModelBucketAccessLogs",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": Sub(f"${{{logs.title}.Arn}}/{_ACCESS_LOG_PREFIX}*"),
        "Condition": {
            "ArnLike": {"aws:SourceArn": about},
            "StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")},
        },
    }


def _network_may_log(logs: s3.Bucket) -> list[dict[str, object]]:
    caller = {
        "Effect": "Allow",
        "Principal": {"Service": "delivery.logs.amazonaws.com"},
        "Condition": {
            "ArnLike": {"aws:SourceArn": Sub("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:*")},
            "StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")},
        },
    }
    folder = Sub(f"${{{logs.title}.Arn}}/{FLOW_LOG_PREFIX}/AWSLogs/${{AWS::AccountId}}/*")
    return [
        {"Sid": "FlowLogs", **caller, "Action": "s3:PutObject", "Resource": folder},
        {"Sid": "FlowLogsLookFirst", **caller, "Action": "s3:GetBucketAcl", "Resource": GetAtt(logs, "Arn")},
    ]
