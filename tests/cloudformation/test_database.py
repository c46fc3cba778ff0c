"""Property 24, and the secrets."""

import pytest

from tests.cloudformation.resolving import of_type, resources


def test_database_is_private_encrypted_and_left_as_a_snapshot() -> None:
    part = resources("data")["Database"]
    properties = part["Properties"]
    assert (part["DeletionPolicy"], part["UpdateReplacePolicy"]) == ("Snapshot", "Snapshot")
    assert (properties["StorageEncrypted"], properties["PubliclyAccessible"]) == (True, False)
    assert properties["VPCSecurityGroups"] == [{"Fn::ImportValue": "mlapi-dev-network-DatabaseSecurityGroup"}]


def test_database_refuses_connections_without_tls() -> None:
    settings = resources("data")["DatabaseSettings"]["Properties"]
    assert settings["Parameters"]["rds.force_ssl"] == "1"
    assert settings["Family"] == "postgres17"


def test_database_password_is_a_dynamic_reference_to_secret() -> None:
    found = resources("data")
    password = found["Database"]["Properties"]["MasterUserPassword"]["Fn::Sub"]
    assert password == "{{resolve:secretsmanager:${DatabaseCredentials}:SecretString:password}}"
    attachment = found["DatabaseCredentialsTarget"]["Properties"]
    assert (attachment["SecretId"], attachment["TargetId"]) == ({"Ref": "DatabaseCredentials"}, {"Ref": "Database"})
    assert "ManageMasterUserPassword" not in found["Database"]["Properties"]


@pytest.mark.parametrize(("environment", "protected"), [("dev", False), ("staging", False), ("prod", True)])
def test_database_spans_two_zones_and_is_protected(environment: str, *, protected: bool) -> None:
    properties = resources("data", environment_name=environment)["Database"]["Properties"]
    assert (properties["MultiAZ"], properties["DeletionProtection"]) == (protected, protected)


def test_no_database_means_no_part_of_one() -> None:
    found = resources("data", create_database=False)
    assert not [part["Type"] for part in found.values() if "RDS" in part["Type"] or "Target" in part["Type"]]
    assert {name for name in found if name.startswith("Database")} == {"DatabaseCredentials"}


def test_secrets_are_made_by_aws_and_kept() -> None:
    found = resources("data")
    for name, properties in of_type(found, "SecretsManager::Secret").items():
        assert found[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert "SecretString" not in properties
        assert int(properties["GenerateSecretString"]["PasswordLength"]) >= 24
