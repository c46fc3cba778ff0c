"""Moves the pointer: which version of a model should serve."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.db.models import F

from models_registry.errors import ActivationConflict, NotActivatable, NothingToRollBackTo
from models_registry.models import Activation, ModelVersion, RegisteredModel, State
from models_registry.services.verdicts import open_check

log = structlog.get_logger(__name__)


def activate(
    version: ModelVersion,
    *,
    by: str,
    reason: str = "",
    override: bool = False,
    seen_generation: int | None = None,
    kind: Activation.Kind = Activation.Kind.ACTIVATION,
) -> Activation | None:
    """DesiredVersion for `version` of its model, and return the history's new row; None where it is active already.

    `seen_generation` is the generation that the caller decided upon (that of `version.model` where it is not
    given): where the model has moved on since, ActivationConflict is raised and nothing changes. NotActivatable is
    raised for a version that is not ready, or whose check advises against it without `override` and a reason.
    """
    model = version.model
    with transaction.atomic():
        current = RegisteredModel.objects.select_related("active_version").get(pk=model.pk)
        fresh = ModelVersion.objects.get(pk=version.pk)
        if current.active_version_id == version.pk:
            return None
        _require_activatable(fresh, model.name, override=override, reason=reason)
        overrides = fresh.override_reason if override else ""
        activation = _move(
            model, current, version, seen_generation, kind=kind, reason=reason, overrides=overrides, activated_by=by
        )
    log.info("activated", model=model.name, version=version.number, generation=model.generation, by=by, kind=str(kind))
    return activation


def deactivate(
    model: RegisteredModel, *, by: str, reason: str = "", seen_generation: int | None = None
) -> Activation | None:
    """DesiredVersion for no version of `model`, and return the history's new row; None where none is active.

    Replicas put it down, and its callers are told that it is not served. Versions and history stay; a rollback brings
    back what was active. ActivationConflict is raised as in `activate`.
    """
    with transaction.atomic():
        current = RegisteredModel.objects.select_related("active_version").get(pk=model.pk)
        if current.active_version is None:
            return None
        kind = Activation.Kind.DEACTIVATION
        activation = _move(model, current, None, seen_generation, kind=kind, reason=reason, activated_by=by)
    log.info("deactivated", model=model.name, generation=model.generation, by=by)
    return activation


def _move(
    model: RegisteredModel,
    current: RegisteredModel,
    version: ModelVersion | None,
    seen_generation: int | None,
    **recorded: str,
) -> Activation:
    """Let `model`, which is `current` in the database, point at `version`, and record it: by compare-and-set."""
    seen = model.generation if seen_generation is None else seen_generation
    claimed = RegisteredModel.objects.filter(pk=model.pk, generation=seen).update(
        active_version=version, generation=F("generation") + 1
    )
    if not claimed:
        raise ActivationConflict(_conflict(current))
    activation = Activation.objects.create(
        model=model, version=version, previous_version=current.active_version, generation=seen + 1, **recorded
    )
    model.active_version, model.generation = version, seen + 1
    return activation


def rollback_target(model: RegisteredModel) -> ModelVersion:
    """Return the version that was active before the last move, or raise NothingToRollBackTo."""
    last = model.activations.filter(generation=model.generation).select_related("previous_version").first()
    if last is None or last.previous_version is None:
        raise NothingToRollBackTo(
            f"{model.name} had no active version before, so there is nothing to roll back to. "
            "Activate the version that you want."
        )
    last.previous_version.model = model
    return last.previous_version


def roll_back(
    model: RegisteredModel, *, by: str, reason: str = "", override: bool = False, seen_generation: int | None = None
) -> Activation | None:
    """Activate the version that was active before; errors as in `activate` and `rollback_target`."""
    target = rollback_target(model)
    earlier = model.activations.filter(version=target).exclude(overrides="").first()
    return activate(
        target,
        by=by,
        # What was overruled once, with a reason that the history keeps, may come back for the same.
        reason=reason or (f"Overruled before: {earlier.reason}" if earlier else ""),
        override=override or earlier is not None,
        seen_generation=seen_generation,
        kind=Activation.Kind.ROLLBACK,
    )


def _require_activatable(version: ModelVersion, name: str, *, override: bool, reason: str) -> None:
    label = f"{name} {version.number}"
    if version.state == State.REJECTED:
        raise NotActivatable(f"{label} was rejected: {version.reason} Publish a corrected version.")
    if version.state == State.MISSING:
        raise NotActivatable(
            f"{label} is missing: its object is no longer in the storage. Upload it again and run sync_models."
        )
    if version.state != State.READY:
        raise NotActivatable(f"{label} cannot be activated yet (state {version.state}): {open_check(version)}")
    if version.override_reason and not (override and reason.strip()):
        raise NotActivatable(
            f"{label}: {version.override_reason} Publish it with a sample and expected predictions, or have somebody "
            "with the permission 'override_check' activate it with a reason."
        )


def _conflict(current: RegisteredModel) -> str:
    last = current.activations.select_related("version").filter(generation=current.generation).first()
    who = f" by {last.activated_by}" if last and last.activated_by else ""
    number = current.active_version.number if current.active_version else "none"
    return (
        f"{current.name}: somebody else's activation came first. Active now is version {number}{who}. "
        "Look at it, and activate again if you still want yours."
    )
