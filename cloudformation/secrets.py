"""What nobody should read: made by Secrets Manager, injected into the container, never in a template."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Sub, Template
from troposphere import secretsmanager as sm

from cloudformation.key import key_or
from cloudformation.links import KEPT, refused_controls, skipped_checks, tags

DATABASE_NAME = "registry"
MASTER_USER = "registry"
DATABASE_USER = "mlapi"  # the service's own role: it owns its tables, and may do nothing else
HAS_DATABASE = "HasDatabase"

_UNDER_AWS_KEY = skipped_checks(
    CKV_AWS_149="AWS's own key encrypts it; KeyArn chooses a customer key, for $1 a month",
)

_NOT_ROTATED = {
    "DjangoSecretKey": "Another key logs everybody out, so a person chooses when",
    "AdminPassword": "It is used for the first account only, once",
    "DatabaseCredentials": "An update of the stack sets the master's password from it; no task serves with it",
}


@dataclass(frozen=True, slots=True)
class Secrets:
    django_key: sm.Secret
    admin_password: sm.Secret
    database: sm.Secret
    registry: sm.Secret


def add_secrets(template: Template) -> Secrets:
    """Add Django's key, the admin's password, the credentials of the database's master and of the service's role.

    The last two are there without a database too: an export that comes and goes would tie the service to the mode.
    """
    return Secrets(
        django_key=_add(template, "DjangoSecretKey", "Signs Django's sessions and tokens", PasswordLength=64),
        admin_password=_add(
            template,
            "AdminPassword",
            "Password of the registry's user admin",
            PasswordLength=24,
            ExcludePunctuation=True,  # a person types or pastes it
        ),
        database=_add(
            template,
            "DatabaseCredentials",
            "Credentials of the registry database's master",
            SecretStringTemplate=f'{{"username": "{MASTER_USER}"}}',
            GenerateStringKey="password",
            PasswordLength=40,
            ExcludePunctuation=True,  # RDS refuses some signs, URLs need others quoted
        ),
        registry=_add(
            template,
            "RegistryCredentials",
            "Credentials of the service's role in the registry database",
            SecretStringTemplate=f'{{"username": "{DATABASE_USER}"}}',
            GenerateStringKey="password",
            PasswordLength=40,
            ExcludePunctuation=True,
        ),
    )


def _add(template: Template, name: str, purpose: str, **generate: object) -> sm.Secret:
    return template.add_resource(
        sm.Secret(
            name,
            DeletionPolicy=KEPT,
            UpdateReplacePolicy="Retain",
            Description=Sub(f"{purpose} (${{ProjectName}} ${{EnvironmentName}})"),
            KmsKeyId=key_or(),
            GenerateSecretString=sm.GenerateSecretString(**generate),
            Metadata=_UNDER_AWS_KEY | _never_rotated(name),
            Tags=tags(name),
        )
    )


def _never_rotated(name: str) -> dict[str, object]:
    reason = _NOT_ROTATED.get(name)
    return refused_controls(dict.fromkeys(("SecretsManager.1", "SecretsManager.4"), reason)) if reason else {}
