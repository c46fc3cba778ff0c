"""AWS Backup, where a role for it is given: the database and the models, each night, kept for 35 days."""

from __future__ import annotations

from troposphere import Equals, If, Not, NoValue, Ref, Sub, Template, backup

from cloudformation.links import KEPT, skipped_checks
from cloudformation.s3 import Buckets
from cloudformation.secrets import HAS_DATABASE

HAS_BACKUP = "HasBackup"
_DAYS_KEPT = 35


def add_conditions(template: Template) -> None:
    template.add_condition(HAS_BACKUP, Not(Equals(Ref("BackupRoleArn"), "")))


def add_backup(template: Template, buckets: Buckets, database: object) -> None:
    """Add a vault, a nightly plan and what it backs up. A vault keeps what the account loses by a mistake."""
    vault = template.add_resource(
        backup.BackupVault(
            "BackupVault",
            Condition=HAS_BACKUP,
            DeletionPolicy=KEPT,
            UpdateReplacePolicy="Retain",
            BackupVaultName=Sub("${AWS::StackName}"),
            Metadata=skipped_checks(
                CKV_AWS_166="AWS's own key encrypts it; a vault of a fixed name cannot change its key"
            ),
        )
    )
    plan = template.add_resource(
        backup.BackupPlan(
            "BackupPlan",
            Condition=HAS_BACKUP,
            BackupPlan=backup.BackupPlanResourceType(
                BackupPlanName=Sub("${AWS::StackName}"),
                BackupPlanRule=[
                    backup.BackupRuleResourceType(
                        RuleName="Nightly",
                        TargetBackupVault=Ref(vault),
                        ScheduleExpression="cron(0 3 * * ? *)",
                        Lifecycle=backup.LifecycleResourceType(DeleteAfterDays=_DAYS_KEPT),
                    )
                ],
            ),
        )
    )
    template.add_resource(
        backup.BackupSelection(
            "BackupSelection",
            Condition=HAS_BACKUP,
            BackupPlanId=Ref(plan),
            BackupSelection=backup.BackupSelectionResourceType(
                SelectionName="DatabaseAndModels",
                IamRoleArn=Ref("BackupRoleArn"),
                Resources=[buckets.arn, If(HAS_DATABASE, database, NoValue)],
            ),
        )
    )
