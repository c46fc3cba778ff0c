"""Restoring data: from a snapshot, from an existing bucket and repository, from AWS Backup."""

from __future__ import annotations

import pytest

from cloudformation.stacks import MAKERS
from tests.cloudformation.resolving import of_type, resources

ROLE = "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole"


def outputs(**settings: str) -> dict[str, object]:
    template = MAKERS["data"]().to_dict()
    return {name: part["Value"] for name, part in template["Outputs"].items()}


def test_engine_is_the_major_version_and_takes_minor_ones() -> None:
    database = resources("data")["Database"]["Properties"]
    assert (database["EngineVersion"], database["AutoMinorVersionUpgrade"]) == ("17", True)


def test_named_snapshot_restores_the_database_with_its_master() -> None:
    database = resources("data", database_snapshot="before-the-accident")["Database"]["Properties"]
    assert database["DBSnapshotIdentifier"] == "before-the-accident"
    # CloudFormation refuses both beside a snapshot
    assert not {"MasterUsername", "DBName"} & set(database)
    assert "MasterUserPassword" in database
    assert "DBSnapshotIdentifier" not in resources("data")["Database"]["Properties"]


@pytest.mark.parametrize(
    ("settings", "gone"),
    [
        ({"existing_model_bucket": "models-of-before"}, {"ModelBucket", "ModelBucketPolicy"}),
        ({"existing_repository": "mlapi/images"}, {"Repository"}),
    ],
)
def test_existing_bucket_or_repository_replaces_a_new_one(settings: dict[str, str], gone: set[str]) -> None:
    assert set(resources("data")) - set(resources("data", **settings)) == gone


def test_outputs_name_the_existing_ones() -> None:
    values = outputs()
    assert values["ModelBucket"] == {
        "Fn::If": ["MakesModelBucket", {"Ref": "ModelBucket"}, {"Ref": "ExistingModelBucket"}]
    }
    assert "repository/${ExistingRepository}" in str(values["RepositoryArn"])
    assert ".dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${ExistingRepository}" in str(values["RepositoryUri"])


def test_failed_first_creation_leaves_nothing_that_is_kept_otherwise() -> None:
    for stack in ("data", "service"):
        for name, part in MAKERS[stack]().to_dict()["Resources"].items():
            assert part.get("DeletionPolicy") in {None, "RetainExceptOnCreate", "Snapshot"}, name


def test_log_group_is_kept_when_the_service_goes() -> None:
    assert resources("service", environment_name="prod")["LogGroup"]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_backup_keeps_database_and_models_for_35_days() -> None:
    found = resources("data", backup_role_arn=ROLE)
    (rule,) = found["BackupPlan"]["Properties"]["BackupPlan"]["BackupPlanRule"]
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    selection = found["BackupSelection"]["Properties"]["BackupSelection"]
    assert (selection["IamRoleArn"], len(selection["Resources"])) == (ROLE, 2)
    assert (
        len(
            resources("data", backup_role_arn=ROLE, create_database=False)["BackupSelection"]["Properties"][
                "BackupSelection"
            ]["Resources"]
        )
        == 1
    )
    assert of_type(resources("data"), "Backup::BackupVault") == {}
