"""Tells the service of each upload: a queue of the model bucket's events, and the service's right to read it."""

from __future__ import annotations

import json

from troposphere import GetAtt, Output, Parameter, Ref, Select, Split, Sub, Template, events, iam, sqs

from cloudformation.links import imported, skipped_checks, tags
from cloudformation.parameters import DATA_STACK, SERVICE_STACK
from cloudformation.standalone import add_parameter, new_template

# The listing, every 15 minutes, finds what a message was about that is gone.
RETENTION_SECONDS = 3600
# Longer than the discovery of the models that ten messages name.
VISIBILITY_SECONDS = 120


def notifications_stack() -> Template:
    """Return the template of the queue, of the rule that fills it, and of the task role's policy."""
    template = new_template("mlapi: a queue that tells the service of each upload to the model bucket")
    for stack, name in ((DATA_STACK, "mlapi-dev-data"), (SERVICE_STACK, "mlapi-dev-service")):
        what = stack.removesuffix("Stack").lower()
        description = f"Name of the {what} stack, whose exports this one uses."
        add_parameter(template, Parameter(stack, Type="String", Default=name, Description=description))
    queue = template.add_resource(
        sqs.Queue(
            "UploadQueue",
            MessageRetentionPeriod=RETENTION_SECONDS,
            VisibilityTimeout=VISIBILITY_SECONDS,
            ReceiveMessageWaitTimeSeconds=20,
            SqsManagedSseEnabled=True,
            Tags=tags("uploads"),
            Metadata=skipped_checks(CKV_AWS_27="SQS's own keys encrypt it; the check knows customer keys alone"),
        )
    )
    rule = template.add_resource(_rule(queue))
    template.add_resource(
        sqs.QueuePolicy(
            "UploadQueuePolicy", Queues=[Ref(queue)], PolicyDocument=_document(_queue_statements(queue, rule))
        )
    )
    template.add_resource(
        iam.PolicyType(
            "ReadUploads",
            PolicyName="ReadUploads",
            PolicyDocument=_document(
                [
                    {
                        "Sid": "ReadUploads",
                        "Effect": "Allow",
                        "Action": ["sqs:DeleteMessage", "sqs:ReceiveMessage"],
                        "Resource": GetAtt(queue, "Arn"),
                    }
                ]
            ),
            # The part of an ARN behind the slash is the role's name.
            Roles=[Select(1, Split("/", imported(SERVICE_STACK, "TaskRoleArn")))],
        )
    )
    variables = Sub(json.dumps({"MODELS_QUEUE_URL": f"${{{queue.title}}}"}))
    template.add_output(Output("QueueUrl", Value=Ref(queue), Description="The value of MODELS_QUEUE_URL"))
    template.add_output(
        Output("Variables", Value=variables, Description="The service's parameter EnvironmentVariables, with others")
    )
    return template


def _rule(queue: sqs.Queue) -> events.Rule:
    return events.Rule(
        "UploadRule",
        Description="Writes and deletions under the prefix of the models",
        EventPattern={
            "source": ["aws.s3"],
            "detail-type": ["Object Created", "Object Deleted"],
            "detail": {
                "bucket": {"name": [imported(DATA_STACK, "ModelBucket")]},
                "object": {"key": [{"prefix": Sub("${Prefix}/", {"Prefix": imported(DATA_STACK, "ModelPrefix")})}]},
            },
        },
        Targets=[events.Target(Id="UploadQueue", Arn=GetAtt(queue, "Arn"))],
    )


def _queue_statements(queue: sqs.Queue, rule: events.Rule) -> list[dict[str, object]]:
    arn = GetAtt(queue, "Arn")
    return [
        {
            "Sid": "RuleMaySend",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": GetAtt(rule, "Arn")}},
        },
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ]


def _document(statements: list[dict[str, object]]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": statements}
