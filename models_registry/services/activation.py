"""Activates versions, deactivates models, and rolls back."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from models_registry.errors import ActivationConflict, ModelArchived, NotActivatable, NothingToRollBackTo
from models_registry.models import Activation, Canary, ModelVersion, RegisteredModel, Shadow, State
from models_registry.services.desired_state import record_change
from models_registry.services.verdicts import open_check
from models_registry.services.webhooks import record_event

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
    """Make `version` the active one; return the new history entry, or None if it already is active.

    `seen_generation` is the generation on which the caller's decision is based (default: that of `version.model`). A
    running canary ends: promoted if it is `version`, else superseded. It also ends if `version` already is active.

    Raises:
        ActivationConflict: the model has changed since; nothing is written.
        ModelArchived: the model is archived.
        NotActivatable: the version is not ready, or its validation advises against it without `override` and a reason.
    """
    model = version.model
    with transaction.atomic():
        current = RegisteredModel.objects.select_related("active_version", "canary__version").get(pk=model.pk)
        fresh = ModelVersion.objects.get(pk=version.pk)
        if current.active_version_id == version.pk:
            if current.canary is not None:
                release_canary(current, current.canary, Canary.Outcome.ENDED, by=by, reason=reason)
                model.canary = None
            return None
        require_in_use(current)
        require_activatable(fresh, model.name, override=override, reason=reason)
        if kind in (Activation.Kind.ACTIVATION, Activation.Kind.PROMOTION):
            require_second_person(fresh, by=by)
        overrides = fresh.override_reason if override else ""
        activation = _move(
            model, current, version, seen_generation, kind=kind, reason=reason, overrides=overrides, activated_by=by
        )
    log.info("activated", model=model.name, version=version.number, generation=model.generation, by=by, kind=str(kind))
    return activation


def require_second_person(version: ModelVersion, *, by: str) -> None:
    """Raise NotActivatable if the publisher activates but MODELS_FOUR_EYES requires another person."""
    obstacle = second_person_obstacle(version, by=by)
    if obstacle:
        raise NotActivatable(obstacle)


def second_person_obstacle(version: ModelVersion, *, by: str) -> str:
    """Return why `by`, who published `version`, may not activate it; an empty text if `by` may."""
    if settings.MODELS_FOUR_EYES and version.published_by and _person(version.published_by) == _person(by):
        return f"{_person(by)} published {version} and may not activate it: another person must (MODELS_FOUR_EYES)."
    return ""


def _person(actor: str) -> str:
    """Return the user without the access path: `ann` for `ann (API)`."""
    return actor.partition(" (")[0]


def deactivate(
    model: RegisteredModel, *, by: str, reason: str = "", seen_generation: int | None = None
) -> Activation | None:
    """Deactivate `model`; return the new history entry, or None if no version is active.

    Replicas unload the model, and clients get an error. Versions and history stay; a rollback activates the same
    version again. Raises ActivationConflict like `activate`.
    """
    with transaction.atomic():
        current = RegisteredModel.objects.select_related("active_version", "canary__version").get(pk=model.pk)
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
    """Point `model`, read as `current` from the database, at `version` by compare-and-set, with a history entry."""
    seen = model.generation if seen_generation is None else seen_generation
    claimed = RegisteredModel.objects.filter(pk=model.pk, generation=seen, archived_at=None).update(
        active_version=version, generation=F("generation") + 1, canary=None
    )
    if not claimed:
        raise ActivationConflict(describe_conflict(current))
    if current.canary is not None:
        _end_canary(current.canary, version, by=recorded["activated_by"])
    _end_shadow(current, version, by=recorded["activated_by"])
    record_change(model.pk)
    activation = Activation.objects.create(
        model=model, version=version, previous_version=current.active_version, generation=seen + 1, **recorded
    )
    model.active_version, model.generation, model.canary = version, seen + 1, None
    record_event(
        "activation.created",
        {
            "model": model.name,
            "version": version.number if version else None,
            "previous_version": current.active_version.number if current.active_version else None,
            "generation": model.generation,
            "kind": activation.kind,
            "by": activation.activated_by,
            "reason": activation.reason,
        },
    )
    return activation


def _end_canary(running: Canary, version: ModelVersion | None, *, by: str) -> None:
    """Record how the model's canary ended when `version` became active."""
    if version == running.version:
        close_canary(running, Canary.Outcome.PROMOTED, by=by)
    else:
        what = f"version {version.number} was activated" if version else "the model was deactivated"
        close_canary(running, Canary.Outcome.SUPERSEDED, by=by, reason=f"Meanwhile {what}.")


def _end_shadow(model: RegisteredModel, version: ModelVersion | None, *, by: str) -> None:
    """Record the end of the model's shadow: the version that it was compared with is no longer active."""
    what = f"version {version.number} was activated" if version else "the model was deactivated"
    running = Shadow.objects.filter(model=model.pk, ended_at=None)
    running.update(ended_at=timezone.now(), ended_by=by, ended_reason=f"Meanwhile {what}.")


def release_canary(
    model: RegisteredModel, canary: Canary, outcome: Canary.Outcome, *, by: str, reason: str = ""
) -> bool:
    """Give all requests back to the active version; return False if the canary had already ended."""
    # Locks the model's row first, like an activation, to avoid deadlocks.
    if not RegisteredModel.objects.filter(pk=model.pk, canary=canary).update(canary=None):
        return False
    close_canary(canary, outcome, by=by, reason=reason)
    record_change(model.pk)
    if outcome == Canary.Outcome.ROLLED_BACK:
        record_event(
            "canary.rolled_back",
            {"model": model.name, "version": canary.version.number, "percent": canary.percent, "reason": reason},
        )
    log.info("canary_ended", model=model.name, version=canary.version.number, outcome=str(outcome), reason=reason)
    return True


def close_canary(canary: Canary, outcome: Canary.Outcome, *, by: str, reason: str = "") -> None:
    """Record that a canary has ended, within the caller's transaction."""
    Canary.objects.filter(pk=canary.pk, ended_at__isnull=True).update(
        ended_at=timezone.now(), outcome=outcome, ended_by=by, ended_reason=reason
    )


def latest_activations(models: Iterable[RegisteredModel]) -> dict[int, Activation]:
    """Return each model's last history entry by model id."""
    latest = Activation.objects.filter(model__in=[model.pk for model in models], generation=F("model__generation"))
    return {activation.model_id: activation for activation in latest}


def rollback_target(model: RegisteredModel) -> ModelVersion:
    """Return the version that was active before the last change; NothingToRollBackTo without one."""
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
    """Activate the previously active version; errors as in `activate` and `rollback_target`."""
    target = rollback_target(model)
    earlier = model.activations.filter(version=target).exclude(overrides="").first()
    return activate(
        target,
        by=by,
        # An earlier override, with its recorded reason, also applies to the rollback.
        reason=reason or (f"Overruled before: {earlier.reason}" if earlier else ""),
        override=override or earlier is not None,
        seen_generation=seen_generation,
        kind=Activation.Kind.ROLLBACK,
    )


def require_in_use(model: RegisteredModel) -> None:
    """Raise ModelArchived for an archived model."""
    if model.archived_at is not None:
        who = f" by {model.archived_by}" if model.archived_by else ""
        raise ModelArchived(
            f"{model.name} was archived{who} on {model.archived_at:%Y-%m-%d}. Restore it first "
            f"(restore_model {model.name}, or its page in the admin), or use another name."
        )


def require_activatable(version: ModelVersion, name: str, *, override: bool, reason: str) -> None:
    """Raise NotActivatable for a version that may not serve; `name` is its model's name."""
    label = f"{name} {version.number}"
    if version.state == State.REJECTED:
        raise NotActivatable(f"{label} was rejected: {version.reason} Publish a corrected version.")
    if version.state == State.DELETED:
        raise NotActivatable(f"{label}: {version.reason} Publish a corrected version.")
    if version.state == State.MISSING:
        raise NotActivatable(
            f"{label} is missing: its object is no longer in the storage. Upload it again and run sync_models."
        )
    if version.state != State.READY:
        raise NotActivatable(f"{label} cannot be activated yet (state {version.state}): {open_check(version)}")
    if version.override_reason and not (override and reason.strip()):
        raise NotActivatable(
            f"{label}: {version.override_reason} Publish it with a sample and expected predictions. Or a user with "
            "the permission 'override_check' can activate it with a reason."
        )


def describe_conflict(current: RegisteredModel) -> str:
    """Return a sentence about the change that came first."""
    last = current.activations.select_related("version").filter(generation=current.generation).first()
    who = f" by {last.activated_by}" if last and last.activated_by else ""
    if current.active_version is None:
        return (
            f"{current.name}: another change came first. No version is active now{who}. "
            "Look at it, and repeat your change if you still want it."
        )
    return (
        f"{current.name}: another activation came first. Active now is version "
        f"{current.active_version.number}{who}. Look at it, and activate again if you still want yours."
    )
