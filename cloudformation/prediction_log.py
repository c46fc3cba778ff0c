"""Where the prediction log and ground truth go: a bucket that forgets, and the service's right to write and read it."""

from __future__ import annotations

from troposphere import GetAtt, If, NoValue, Output, Parameter, Ref, Select, Split, Sub, Template, iam, s3

from cloudformation import key
from cloudformation.links import imported, skipped_checks
from cloudformation.parameters import SERVICE_STACK
from cloudformation.s3 import add_policy, bucket_properties, tls_only
from cloudformation.standalone import add_parameter, new_template

MAX_RETENTION_DAYS = 3650


def prediction_log_stack() -> Template:
    """Return the template of the bucket, whose files expire, and of the task role's policy."""
    template = new_template("mlapi: the bucket of the prediction log and of ground truth")
    _add_parameters(template)
    key.add_conditions(template)
    bucket = template.add_resource(_bucket())
    add_policy(template, bucket, [tls_only(bucket)])
    template.add_resource(
        iam.PolicyType(
            "KeepPredictionLog",
            PolicyName="KeepPredictionLog",
            PolicyDocument={"Version": "2012-10-17", "Statement": _statements(bucket)},
            # The part of an ARN behind the slash is the role's name.
            Roles=[Select(1, Split("/", imported(SERVICE_STACK, "TaskRoleArn")))],
        )
    )
    template.add_output(
        Output("LogStorage", Value=Sub(f"s3://${{{bucket.title}}}"), Description="The value of MODELS_LOG_STORAGE")
    )
    return template


def _add_parameters(template: Template) -> None:
    add_parameter(
        template,
        Parameter(
            SERVICE_STACK,
            Type="String",
            Default="mlapi-dev-service",
            Description="Name of the service stack, whose exports this one uses.",
        ),
    )
    add_parameter(
        template,
        Parameter(
            "RetentionDays",
            Type="Number",
            Default=30,
            MinValue=1,
            MaxValue=MAX_RETENTION_DAYS,
            Description="Days after which logged requests and labels are deleted. They may be personal data.",
        ),
    )
    key.add_parameter(template)


def _bucket() -> s3.Bucket:
    return s3.Bucket(
        "PredictionLogBucket",
        **(bucket_properties("prediction-log") | {"BucketEncryption": key.bucket_encryption()}),
        LifecycleConfiguration=s3.LifecycleConfiguration(
            Rules=[
                s3.LifecycleRule(
                    Id="ExpirePredictionLog",
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


def _statements(bucket: s3.Bucket) -> list[object]:
    return [
        {
            "Sid": "WriteAndReadPredictionLog",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": Sub(f"${{{bucket.title}.Arn}}/*"),
        },
        {"Sid": "ListPredictionLog", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": GetAtt(bucket, "Arn")},
        If(key.HAS_KEY, key.use_through("s3", "kms:Decrypt", "kms:GenerateDataKey"), NoValue),
    ]
