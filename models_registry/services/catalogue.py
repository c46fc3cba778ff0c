"""Looks up models and versions by name and number, and changes models' settings."""

from __future__ import annotations

import re

import structlog
from django.conf import settings
from django.db import transaction

from models_registry.artifacts.suggestions import closest, shown
from models_registry.errors import InvalidName, UnknownModel, UnknownVersion
from models_registry.models import NAME_PATTERN, ModelVersion, Policy, RegisteredModel
from models_registry.services.canaries import require_range
from models_registry.services.desired_state import record_change

log = structlog.get_logger(__name__)

SHOWN_VERSIONS = 10


def check_name(name: str) -> str:
    """Return `name` if it is valid in a URL, else raise InvalidName."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidName(
            f"{name!r} is not a valid model name; expected 1 to 100 letters, digits, dots, dashes and underscores. "
            "The first one must be a letter or a digit. Rename it, e.g. "
            f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._') or 'my-model'!r}."
        )
    return name


def register_model(name: str) -> RegisteredModel:
    """Return the model called `name`; create it with the configured policy if it is new."""
    model = RegisteredModel.objects.filter(name=check_name(name)).first()
    if model is not None:
        return model
    with transaction.atomic():
        model, is_new = RegisteredModel.objects.get_or_create(name=name, defaults={"policy": settings.MODELS_POLICY})
        if is_new:
            record_change(model.pk)  # the first registered model is the default model
    if is_new:
        log.info("registered", model=name, policy=model.policy)
    return model


def get_model(name: str) -> RegisteredModel:
    """Return the model called `name`; UnknownModel suggests a similar name."""
    model = RegisteredModel.objects.select_related("active_version").filter(name=name).first()
    if model is not None:
        return model
    names = list(RegisteredModel.objects.values_list("name", flat=True))
    guess = closest(name, names)
    if guess is not None:
        hint = f"Did you mean {guess!r}?"
    elif names:
        hint = f"Registered are {shown(names)}."
    else:
        hint = "No model is registered yet: publish one with 'python3 manage.py publish_model NAME ARTIFACT'."
    raise UnknownModel(f"No model is called {name!r}. {hint}")


def get_version(model: RegisteredModel, number: int | str) -> ModelVersion:
    """Return the version of `model` by number or alias; UnknownVersion names the existing ones."""
    if isinstance(number, str):
        number = int(number) if number.isdigit() else _named(model, number)
    version = model.versions.filter(number=number).first()
    if version is not None:
        version.model = model
        return version
    numbers = list(model.versions.order_by("number").values_list("number", flat=True))
    more = f" and {len(numbers) - SHOWN_VERSIONS} older ones" if len(numbers) > SHOWN_VERSIONS else ""
    newest = ", ".join(map(str, numbers[-SHOWN_VERSIONS:]))
    known = f"It has {newest}{more}." if numbers else "It has none yet: run sync_models."
    raise UnknownVersion(f"{model.name} has no version {number}. {known}")


def _named(model: RegisteredModel, alias: str) -> int:
    number: int | None = model.aliases.get(alias)
    if number is None:
        known = f"Its aliases are {shown(sorted(model.aliases))}." if model.aliases else "It has no aliases."
        raise UnknownVersion(f"{model.name} has no alias {alias[:80]!r}. {known}")
    return number


def set_policy(model: RegisteredModel, policy: str, *, by: str) -> None:
    """Set the policy: `manual`, or `latest`, which activates each version that passes its validation."""
    RegisteredModel.objects.filter(pk=model.pk).update(policy=Policy(policy))
    transaction.on_commit(lambda: log.info("policy_changed", model=model.name, policy=policy, by=by))


def set_latest_canary(model: RegisteredModel, *, percent: float, bake_minutes: float, by: str) -> None:
    """Let policy `latest` start a new version as a canary with `percent` of the traffic; 100: activate it at once.

    It becomes active after `bake_minutes` without a broken guardrail. Raises RequestError for a value out of range.
    """
    require_range(percent, bake_minutes)
    RegisteredModel.objects.filter(pk=model.pk).update(latest_percent=percent, latest_bake_minutes=bake_minutes)
    log.info("latest_canary_changed", model=model.name, percent=percent, bake_minutes=bake_minutes, by=by)


def set_acceleration(model: RegisteredModel, acceleration: bool, *, by: str) -> None:
    """Allow or forbid the compiled form of `model`; it must be verified to be served."""
    with transaction.atomic():
        RegisteredModel.objects.filter(pk=model.pk).update(acceleration=acceleration)
        record_change(model.pk)
    log.info("acceleration_changed", model=model.name, acceleration=acceleration, by=by)


def set_description(model: RegisteredModel, description: str, *, by: str) -> None:
    """Set the description of `model`; a version's own description takes precedence."""
    RegisteredModel.objects.filter(pk=model.pk).update(description=description)
    transaction.on_commit(lambda: log.info("description_changed", model=model.name, by=by))
