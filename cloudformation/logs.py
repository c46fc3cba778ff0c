"""Where the service's log lines go."""

from __future__ import annotations

from troposphere import Ref, Template, logs

from cloudformation.key import key_or
from cloudformation.links import KEPT, skipped_checks, tags


def add_log_group(template: Template, title: str = "LogGroup", name: str = "logs") -> logs.LogGroup:
    """Add a log group, which forgets after as many days as asked, and stays when the stack goes."""
    return template.add_resource(
        logs.LogGroup(
            title,
            # What happened is asked for when the service is gone.
            DeletionPolicy=KEPT,
            UpdateReplacePolicy="Retain",
            KmsKeyId=key_or(),
            RetentionInDays=Ref("LogRetentionDays"),
            Metadata=skipped_checks(CKV_AWS_158="CloudWatch encrypts it; KeyArn chooses a customer key"),
            Tags=tags(name),
        )
    )
