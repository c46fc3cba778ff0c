"""System checks: they report an invalid configuration before the service starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from models_registry.artifacts.formats.trusted import malformed_names
from models_registry.delivery import secret_bytes, url_problem
from models_registry.errors import StorageError
from models_registry.storage import open_storage

MIN_JOBLIB = (1, 6)
# The checks that a registry command runs; Django's other checks run with `migrate` and `check`.
OWN = "registry"


def require_sound_settings() -> None:
    """Raise ImproperlyConfigured with every error of the registry's checks.

    A server calls this at its start, because Django runs the checks only with a command.
    """
    errors = [item for item in run_checks(tags=[OWN]) if item.is_serious() and not item.is_silenced()]
    if errors:
        raise ImproperlyConfigured(" ".join(f"{item.id}: {item.msg} {item.hint or ''}".strip() for item in errors))


@register(OWN)
def check_storage(**_: Any) -> list[CheckMessage]:
    """E001: MODELS_STORAGE is not valid. W001: its directory is missing."""
    try:
        open_storage(settings.MODELS_STORAGE)
    except StorageError as error:
        return [Error(str(error), id="models_registry.E001")]
    parts = urlsplit(settings.MODELS_STORAGE)
    if parts.scheme == "file" and not Path(parts.path).is_dir():
        return [
            Warning(
                f"The storage {parts.path} is not there.",
                hint="Create the directory, or set MODELS_STORAGE to the right one.",
                id="models_registry.W001",
            )
        ]
    return []


@register(OWN)
def check_joblib(**_: Any) -> list[CheckMessage]:
    """E002: the installed joblib reads object arrays with an unrestricted pickle.load."""
    from importlib.metadata import version

    found = version("joblib")
    if tuple(int(part) for part in found.split(".")[:2]) < MIN_JOBLIB:
        return [
            Error(
                f"joblib {found} reads object arrays without checking the allow-list.",
                hint="Install the pinned requirements: python3 requirements/install.py .venv requirements.txt",
                id="models_registry.E002",
            )
        ]
    return []


@register(OWN)
def check_trusted_names(**_: Any) -> list[CheckMessage]:
    """E004: an entry of MODELS_TRUSTED_GLOBALS is not an exact name."""
    return [
        Error(
            f"MODELS_TRUSTED_GLOBALS holds {name!r}; expected an exact name like package.module.Name.",
            hint="Name each class or function, e.g. shop.features.Cleaner.",
            id="models_registry.E004",
        )
        for name in malformed_names(settings.MODELS_TRUSTED_GLOBALS)
    ]


@register(Tags.database)
def check_encoding(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """E003: the encoding of the PostgreSQL database is not UTF8."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql":
            continue
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            (encoding,) = cursor.fetchone()
        if encoding != "UTF8":
            found.append(
                Error(
                    f"The encoding of the database is {encoding}; expected UTF8, for names in any script.",
                    hint="Create the database again: CREATE DATABASE registry ENCODING 'UTF8' TEMPLATE template0;",
                    id="models_registry.E003",
                )
            )
    return found


@register(OWN)
def check_loading(**_: Any) -> list[CheckMessage]:
    """W003: a setting of lazy loading that has no effect."""
    given = [name for name in ("MODELS_MEMORY_MB", "MODELS_PINNED") if getattr(settings, name)]
    if settings.MODELS_LOADING == "lazy" or not given:
        return []
    return [
        Warning(
            f"{' and '.join(given)} has no effect while MODELS_LOADING is eager: every model is loaded, and stays.",
            hint="Set MODELS_LOADING=lazy, or unset it.",
            id="models_registry.W003",
        )
    ]


@register(OWN)
def check_any_pickle(**_: Any) -> list[CheckMessage]:
    """W002: artifacts may run any code."""
    if not settings.MODELS_ALLOW_ANY_PICKLE:
        return []
    return [
        Warning(
            "MODELS_ALLOW_ANY_PICKLE is on: anyone who can write to the storage can run any code here.",
            hint="Name your own transformers in MODELS_TRUSTED_GLOBALS instead.",
            id="models_registry.W002",
        )
    ]


@register(OWN)
def check_webhooks(**_: Any) -> list[CheckMessage]:
    """E005: a webhook's address or secret is not valid."""
    problems = [
        url_problem(url, frozenset(settings.MODELS_WEBHOOK_PRIVATE_HOSTS)) for url in settings.MODELS_WEBHOOK_URLS
    ]
    if settings.MODELS_WEBHOOK_URLS and not settings.MODELS_WEBHOOK_SECRETS:
        problems.append("MODELS_WEBHOOK_URLS is set, and MODELS_WEBHOOK_SECRETS is not: events must be signed.")
    for secret in settings.MODELS_WEBHOOK_SECRETS:
        try:
            secret_bytes(secret)
        except ValueError as error:
            problems.append(f"A secret in MODELS_WEBHOOK_SECRETS is not of the form whsec_<base64>: {error}.")
    hint = (
        "Make a secret: python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
    )
    return [Error(problem, hint=hint, id="models_registry.E005") for problem in problems if problem]


@register(OWN)
def check_queue(**_: Any) -> list[CheckMessage]:
    """E006: the notification queue does not fit the storage."""
    if not settings.MODELS_QUEUE_URL:
        return []
    problem = ""
    if urlsplit(settings.MODELS_STORAGE).scheme != "s3":
        problem = f"MODELS_QUEUE_URL is set, and MODELS_STORAGE is {settings.MODELS_STORAGE}, which sends no messages."
    elif urlsplit(settings.MODELS_QUEUE_URL).scheme not in {"http", "https"}:
        problem = f"MODELS_QUEUE_URL is {settings.MODELS_QUEUE_URL!r}; expected the https:// address of an SQS queue."
    hint = (
        "Set MODELS_STORAGE to s3://bucket/prefix and MODELS_QUEUE_URL to the queue's URL, or unset MODELS_QUEUE_URL."
    )
    return [Error(problem, hint=hint, id="models_registry.E006")] if problem else []
