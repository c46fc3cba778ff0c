"""What rotates the password of the service's role in the database, and what replaces the tasks afterwards.

The template of the stack `rotation` carries this very text as the code of two Lambda functions. Neither speaks to the
database: the container that starts before each task's service sets there what the secret says.
"""

from __future__ import annotations

import json
from typing import Any

import boto3

PASSWORD_LENGTH = 40
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def rotate(event: dict[str, str], context: object) -> None:
    """Carry out one step of a rotation, as Secrets Manager asks for it; each can be repeated."""
    del context
    step, secret, version = event["Step"], event["SecretId"], event["ClientRequestToken"]
    if step not in STEPS:
        raise ValueError(f"The step is {step!r}; expected one of {', '.join(STEPS)}.")
    client = boto3.client("secretsmanager")
    stages = client.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if "AWSCURRENT" in stages.get(version, []):
        return
    if step == "createSecret":
        _create(client, secret, version)
    if step == "finishSecret":
        (current,) = [name for name, labels in stages.items() if "AWSCURRENT" in labels]
        client.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=current
        )


def _create(client: Any, secret: str, version: str) -> None:
    try:
        client.get_secret_value(SecretId=secret, VersionId=version, VersionStage="AWSPENDING")
    except client.exceptions.ResourceNotFoundException:
        content = json.loads(client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"])
        password = client.get_random_password(PasswordLength=PASSWORD_LENGTH, ExcludePunctuation=True)
        content["password"] = password["RandomPassword"]
        client.put_secret_value(
            SecretId=secret,
            ClientRequestToken=version,
            SecretString=json.dumps(content),
            VersionStages=["AWSPENDING"],
        )


def redeploy(event: dict[str, str], context: object) -> None:
    """Replace the tasks of the service that the event names: ECS reads secrets at a task's start only."""
    del context
    boto3.client("ecs").update_service(cluster=event["cluster"], service=event["service"], forceNewDeployment=True)
