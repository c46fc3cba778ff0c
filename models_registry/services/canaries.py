"""Canaries: a candidate answers a share of a model's requests, then becomes active or ends."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from django.db import IntegrityError, transaction
from django.utils import timezone

from models_registry.artifacts.compatibility import caller_changes
from models_registry.errors import ActivationConflict, NoCanary, NotSplittable, RequestError
from models_registry.models import (
    Activation,
    Canary,
    ModelVersion,
    RegisteredModel,
    Replica,
    ReplicaModel,
    ReplicaState,
)
from models_registry.services.activation import (
    activate,
    close_canary,
    describe_conflict,
    release_canary,
    require_activatable,
    require_second_person,
)
from models_registry.services.desired_state import record_change

log = structlog.get_logger(__name__)

# Each guardrail with its largest allowed limit: shares from 0 to 1, and a factor of the 99th percentile.
GUARDRAILS = {"error_rate": 1.0, "p99_ratio": 1000.0, "label_shift": 1.0}
DEFAULT_GUARDRAILS = {"error_rate": 0.01, "p99_ratio": 1.5}
MAX_BAKE_MINUTES = 60 * 24 * 14


@dataclass(frozen=True, slots=True)
class CandidateReplica:
    """The state of one live replica for a candidate."""

    replica: str
    state: str
    reason: str


def start_canary(
    version: ModelVersion,
    *,
    percent: float,
    by: str,
    reason: str = "",
    bake_minutes: float | None = None,
    guardrails: Mapping[str, float] | None = None,
    override: bool = False,
    seen_generation: int | None = None,
) -> Canary | None:
    """Make `version` the canary of its model, for `percent` % of the requests; return it, or None without a change.

    The split starts when every live replica has loaded the candidate. A broken guardrail in `guardrails` (by default
    DEFAULT_GUARDRAILS) ends the canary. After `bake_minutes` without a broken guardrail the candidate becomes active;
    without a bake time a user promotes it. Another running canary of the model ends.

    Raises:
        NotActivatable: the version may not be activated.
        NotSplittable: no version is active, this one is, or its inputs are not compatible.
        RequestError: a share, a bake time or a guardrail is out of range.
        ActivationConflict: the model has changed since `seen_generation`.
    """
    model = version.model
    wanted = _checked_guardrails(DEFAULT_GUARDRAILS if guardrails is None else guardrails)
    require_range(percent, bake_minutes)
    try:
        with transaction.atomic():
            models = RegisteredModel.objects.select_for_update(of=("self",))
            current = models.select_related("active_version", "canary").get(pk=model.pk)
            seen = model.generation if seen_generation is None else seen_generation
            if current.generation != seen:
                raise ActivationConflict(describe_conflict(current))
            fresh = ModelVersion.objects.get(pk=version.pk)
            require_activatable(fresh, model.name, override=override, reason=reason)
            require_second_person(fresh, by=by)
            active = _require_splittable(current, fresh, wanted, has_own_guardrails=guardrails is not None)
            running = current.canary
            if running is not None and _is_unchanged(running, fresh, percent, bake_minutes, wanted):
                model.canary = running
                return None
            canary = _replace(
                current,
                Canary(
                    model=current,
                    version=fresh,
                    active_version=active,
                    generation=current.generation,
                    percent=percent,
                    bake_minutes=bake_minutes,
                    guardrails=wanted,
                    reason=reason,
                    overrides=fresh.override_reason if override else "",
                    started_by=by,
                ),
            )
    except IntegrityError as error:
        raise ActivationConflict(f"{model.name}: another canary was started at the same time. Look at it.") from error
    model.canary = canary
    log.info("canary_started", model=model.name, version=version.number, percent=percent, by=by)
    return canary


def _replace(current: RegisteredModel, canary: Canary) -> Canary:
    """Replace the running canary with `canary` by compare-and-set."""
    running = current.canary
    if running is not None:
        close_canary(running, Canary.Outcome.SUPERSEDED, by=canary.started_by, reason="Another share was set.")
        if running.version_id == canary.version_id and running.traffic_at is not None:
            # All replicas have loaded it: the share changes at once, and the bake time restarts.
            canary.traffic_at = timezone.now()
    canary.save()
    claimed = RegisteredModel.objects.filter(
        pk=current.pk, generation=current.generation, canary=running.pk if running else None
    ).update(canary=canary)
    if not claimed:
        raise ActivationConflict(describe_conflict(current))
    record_change(current.pk)
    return canary


def promote(
    model: RegisteredModel, *, by: str, reason: str = "", seen_generation: int | None = None
) -> Activation | None:
    """Activate the canary's version; return the new history entry. Errors as in `activate`, and NoCanary."""
    canary = require_canary(model)
    version = canary.version
    version.model = model
    return activate(
        version,
        by=by,
        reason=reason or canary.reason or f"Promoted from a share of {canary.percent:g} %.",
        # An override at its start, with its recorded reason, also applies here.
        override=bool(canary.overrides),
        seen_generation=canary.generation if seen_generation is None else seen_generation,
        kind=Activation.Kind.PROMOTION,
    )


def end_canary(model: RegisteredModel, *, by: str, reason: str = "") -> Canary | None:
    """End the canary and return it; None if none is running."""
    return _end(model, Canary.Outcome.ENDED, by=by, reason=reason)


def roll_back_canary(canary: Canary, *, by: str, reason: str) -> Canary | None:
    """End the canary because a guardrail is broken; None if it has already ended."""
    return _end(canary.model, Canary.Outcome.ROLLED_BACK, by=by, reason=reason, canary=canary)


def _end(
    model: RegisteredModel, outcome: Canary.Outcome, *, by: str, reason: str, canary: Canary | None = None
) -> Canary | None:
    with transaction.atomic():
        running = canary or current_canary(model)
        if running is None or not release_canary(model, running, outcome, by=by, reason=reason):
            return None
    running.refresh_from_db()
    model.canary = None
    return running


def current_canary(model: RegisteredModel) -> Canary | None:
    """Return the model's running canary; None if all requests go to the active version."""
    running = Canary.objects.select_related("model", "version", "active_version")
    return running.filter(model=model, ended_at=None).first()


def require_canary(model: RegisteredModel) -> Canary:
    """Return the model's running canary; raise NoCanary if none is running."""
    found = current_canary(model)
    if found is None:
        raise NoCanary(
            f"No canary of {model.name} is running. Start one: "
            f"python3 manage.py activate_model {model.name} VERSION --traffic-percent 10"
        )
    return found


def candidate_replicas(canary: Canary) -> tuple[CandidateReplica, ...]:
    """Return the state of each live replica for the candidate."""
    live = list(Replica.objects.live())
    rows = ReplicaModel.objects.filter(model=canary.model_id, replica__in=live)
    told = {row.replica_id: row.others.get(str(canary.version.number), {}) for row in rows}
    return tuple(_candidate_replica(replica, told.get(replica.pk, {}), canary) for replica in live)


def _candidate_replica(replica: Replica, told: Mapping[str, str], canary: Canary) -> CandidateReplica:
    # A report of other bytes under this number belongs to another state of the registry.
    state = told.get("state", "") if told.get("digest") == canary.version.digest else ""
    return CandidateReplica(str(replica), state or str(ReplicaState.LOADING), told.get("reason", "") if state else "")


def open_traffic() -> list[Canary]:
    """Start the split of canaries that every live replica has loaded; return the started ones."""
    opened = []
    waiting = Canary.objects.filter(ended_at=None, traffic_at=None).select_related("model", "version")
    for canary in waiting:
        replicas = candidate_replicas(canary)
        if not replicas or any(replica.state != ReplicaState.SERVING for replica in replicas):
            continue
        if _open(canary):
            log.info("canary_traffic", model=canary.model.name, version=canary.version.number, percent=canary.percent)
            opened.append(canary)
    return opened


def _open(canary: Canary) -> bool:
    """Record that the split starts now; return False if it already has, or the canary has ended."""
    with transaction.atomic():
        # Locks the model's row first, like an activation, to avoid deadlocks.
        if not RegisteredModel.objects.filter(pk=canary.model_id, canary=canary).update(canary=canary):
            return False
        waiting = Canary.objects.filter(pk=canary.pk, ended_at=None, traffic_at=None)
        is_opened = bool(waiting.update(traffic_at=timezone.now()))
        if is_opened:
            record_change(canary.model_id)
    return is_opened


def wait_for_canary(canary: Canary, *, timeout_seconds: float, poll_seconds: float = 0.2) -> bool:
    """Wait until the split has started, the canary has ended, or the timeout; return whether it started."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        canary.refresh_from_db()
        if canary.traffic_at is not None or canary.ended_at is not None or time.monotonic() >= deadline:
            return canary.traffic_at is not None and canary.ended_at is None
        time.sleep(poll_seconds)


def _is_unchanged(
    running: Canary, version: ModelVersion, percent: float, bake_minutes: float | None, guardrails: Mapping[str, float]
) -> bool:
    """Return whether the running canary equals the requested one."""
    present = (running.version_id, running.percent, running.bake_minutes, running.guardrails)
    return present == (version.pk, percent, bake_minutes, guardrails)


def _require_splittable(
    model: RegisteredModel, candidate: ModelVersion, guardrails: dict[str, float], *, has_own_guardrails: bool
) -> ModelVersion:
    """Return the active version if `candidate` can share its traffic; NotSplittable gives the reason if not."""
    active = model.active_version
    if active is None:
        raise NotSplittable(
            f"{model.name} has no active version, so there is no traffic to split. "
            f"Activate version {candidate.number} with all of it."
        )
    if active == candidate:
        raise NotSplittable(f"Version {candidate.number} of {model.name} is active: it has all traffic already.")
    changes = caller_changes(active.schema or {}, candidate.schema or {})
    if changes:
        raise NotSplittable(
            f"Version {candidate.number} of {model.name} cannot answer the callers of version {active.number}. "
            f"{' '.join(changes)} Publish a version with the same inputs, or activate this one and change the callers."
        )
    if has_own_guardrails and "label_shift" in guardrails and (candidate.schema or {}).get("kind") != "classifier":
        raise NotSplittable(
            f"The guardrail 'label_shift' needs labels, and {model.name} {candidate.number} is not a classifier. "
            "Leave it out."
        )
    return active


def require_range(percent: float, bake_minutes: float | None) -> None:
    """Raise RequestError for an invalid share or bake time."""
    if not 0 <= percent <= 100:
        raise RequestError(f"The share is {percent:g} %; expected 0 to 100.")
    if bake_minutes is not None and not 0 < bake_minutes <= MAX_BAKE_MINUTES:
        raise RequestError(
            f"The bake time is {bake_minutes:g} minutes; expected more than 0, up to {MAX_BAKE_MINUTES}."
        )


def _checked_guardrails(given: Mapping[str, float]) -> dict[str, float]:
    for name, limit in given.items():
        if name not in GUARDRAILS:
            raise RequestError(f"Unknown guardrail {name[:100]!r}; known are {', '.join(GUARDRAILS)}.")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit):
            raise RequestError(f"The limit of the guardrail {name!r} must be a number.")
        if not 0 <= limit <= GUARDRAILS[name]:
            raise RequestError(f"The limit of the guardrail {name!r} is {limit:g}; expected 0 to {GUARDRAILS[name]:g}.")
    return {name: float(limit) for name, limit in given.items()}
