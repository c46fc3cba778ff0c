"""Shadows: a version gets copies of a model's requests; its predictions are only compared with the active version's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils import timezone

from models_registry.artifacts.compatibility import caller_changes
from models_registry.errors import ActivationConflict, NotShadowable, RegistryError
from models_registry.inference.mirroring import ShadowShare
from models_registry.models import ModelVersion, RegisteredModel, Shadow, ShadowWindow
from models_registry.monitoring.buckets import SECONDS, in_milliseconds, quantile
from models_registry.monitoring.intervals import Interval, share_interval
from models_registry.services.activation import describe_conflict, require_activatable, require_second_person
from models_registry.services.canaries import require_range
from models_registry.services.prepared import PreparedQuery

log = structlog.get_logger(__name__)

DEFAULT_PERCENT = 20.0
MAX_PROBLEM = 1000
# Latency covers the last hour; counts cover the time since the start.
LATENCY_WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """Counts of rows: sent, `agreed` and `errors`; `latency` counts over buckets.SECONDS."""

    rows: int = 0
    agreed: int = 0
    errors: int = 0
    dropped: int = 0
    latency: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class ShadowFigures:
    """A shadow's counts on all replicas; shares from 0 to 1, times in milliseconds, None without data."""

    rows: int
    agreed: int
    differed: int
    errors: int
    dropped: int
    agreement: float | None
    agreement_interval: Interval | None
    p50_milliseconds: float | None
    p99_milliseconds: float | None


def start_shadow(
    version: ModelVersion,
    *,
    percent: float = DEFAULT_PERCENT,
    by: str,
    reason: str = "",
    override: bool = False,
    seen_generation: int | None = None,
) -> Shadow | None:
    """Send `version` copies of `percent` of its model's requests; return the shadow, or None without a change.

    Another running shadow of the model ends. A shadow ends when another version becomes active, or none is.

    Raises:
        NotActivatable: the version may not be activated.
        NotShadowable: no version is active, this one is, or it cannot take the active version's requests.
        RequestError: the share is out of range.
        ActivationConflict: the model has changed since `seen_generation`.
    """
    require_range(percent, None)
    model = version.model
    try:
        with transaction.atomic():
            # An activation locks the same row first, and ends the shadow.
            models = RegisteredModel.objects.select_for_update(of=("self",)).select_related("active_version")
            current = models.get(pk=model.pk)
            if current.generation != (model.generation if seen_generation is None else seen_generation):
                raise ActivationConflict(describe_conflict(current))
            fresh = ModelVersion.objects.select_related("model").get(pk=version.pk)
            active = _require_shadowable(current, fresh, by=by, override=override, reason=reason)
            running = current_shadow(current)
            if running is not None and (running.version_id, running.percent) == (fresh.pk, percent):
                return None
            if running is not None:
                _close(running, by=by, reason="Another shadow or share was set.")
            shadow = Shadow.objects.create(
                model=current,
                version=fresh,
                active_version=active,
                percent=percent,
                reason=reason,
                overrides=fresh.override_reason if override else "",
                started_by=by,
            )
    except IntegrityError as error:
        raise ActivationConflict(f"{model.name}: another shadow was started at the same time. Look at it.") from error
    log.info("shadow_started", model=model.name, version=version.number, percent=percent, by=by)
    return shadow


def shadow_obstacle(version: ModelVersion, *, by: str) -> str:
    """Return why `by` cannot make `version` a shadow, even with an override; empty if they can."""
    try:
        _require_shadowable(version.model, version, by=by, override=True, reason="-")
    except RegistryError as error:
        return str(error)
    return ""


def _require_shadowable(
    model: RegisteredModel, shadow: ModelVersion, *, by: str, override: bool, reason: str
) -> ModelVersion:
    """Return the active version to compare `shadow` with; errors as in start_shadow."""
    active = _require_comparable(model, shadow)
    require_activatable(shadow, model.name, override=override, reason=reason)
    require_second_person(shadow, by=by)
    return active


def _require_comparable(model: RegisteredModel, shadow: ModelVersion) -> ModelVersion:
    """Return the active version to compare `shadow` with; NotShadowable gives the reason if there is none."""
    active = model.active_version
    if active is None:
        raise NotShadowable(
            f"{model.name} has no active version, so there are no requests to copy. Activate one first."
        )
    if active == shadow:
        raise NotShadowable(
            f"Version {shadow.number} of {model.name} is active: it would be compared with itself. "
            "Name another version."
        )
    # A version that is not ready has no schema; its state is the reason then.
    changes = caller_changes(active.schema or {}, shadow.schema) if shadow.schema else []
    if changes:
        raise NotShadowable(
            f"Version {shadow.number} of {model.name} cannot take the requests of version {active.number}. "
            f"{' '.join(changes)} Publish a version with the same inputs."
        )
    return active


def end_shadow(model: RegisteredModel, *, by: str, reason: str = "") -> Shadow | None:
    """End the shadow and return it; None if none is running."""
    running = current_shadow(model)
    if running is None or not _close(running, by=by, reason=reason or "Ended by hand."):
        return None
    running.refresh_from_db()
    log.info("shadow_ended", model=model.name, version=running.version.number, by=by)
    return running


def _close(shadow: Shadow, *, by: str, reason: str) -> bool:
    running = Shadow.objects.filter(pk=shadow.pk, ended_at=None)
    return bool(running.update(ended_at=timezone.now(), ended_by=by, ended_reason=reason))


def current_shadow(model: RegisteredModel) -> Shadow | None:
    """Return the model's running shadow."""
    running = Shadow.objects.select_related("model", "version", "active_version")
    return running.filter(model=model, ended_at=None).first()


def read_shadows() -> dict[str, ShadowShare]:
    """Return the running shadows by model name: without shadows one query without joins, else two queries."""
    if not _RUNNING.exists():
        return {}
    rows = Shadow.objects.filter(ended_at=None).values_list(
        "model__name", "pk", "version__number", "active_version__number", "percent"
    )
    return {name: ShadowShare(pk, number, active, percent) for name, pk, number, active, percent in rows}


_RUNNING = PreparedQuery(lambda _: Shadow.objects.filter(ended_at=None).values_list("pk"))


def get_running_shadow(shadow_id: int) -> Shadow | None:
    """Return a shadow with its version; None if it has ended."""
    return Shadow.objects.select_related("version__model").filter(pk=shadow_id, ended_at=None).first()


def note_shadow_problem(shadow: Shadow, problem: str) -> None:
    """Store why a shadow gave no predictions at all; empty if it did."""
    if shadow.problem != problem[:MAX_PROBLEM]:
        Shadow.objects.filter(pk=shadow.pk).update(problem=problem[:MAX_PROBLEM])


def record_shadow_counts(replica: str, minute: datetime, counts: Mapping[int, ShadowCounts]) -> None:
    """Add the counts of `replica` in the minute that starts at `minute`, by shadow; ended shadows are omitted."""
    known = Shadow.objects.filter(pk__in=counts).values_list("pk", flat=True)
    with transaction.atomic():
        for shadow_id in known:
            found = counts[shadow_id]
            window, _ = ShadowWindow.objects.get_or_create(shadow_id=shadow_id, replica=replica, starts_at=minute)
            window.rows += found.rows
            window.agreed += found.agreed
            window.errors += found.errors
            window.dropped += found.dropped
            window.latency = _added(window.latency, found.latency)
            window.save()


def shadow_figures(shadow: Shadow) -> ShadowFigures:
    """Return the counts of all replicas; windows are kept for 14 days."""
    sums = shadow.windows.aggregate(*(Sum(name, default=0) for name in ("rows", "agreed", "errors", "dropped")))
    rows, agreed, errors, dropped = (sums[f"{name}__sum"] for name in ("rows", "agreed", "errors", "dropped"))
    latency: list[int] = []
    last = shadow.windows.order_by("-starts_at").values_list("starts_at", flat=True).first()
    if last is not None:
        for counts in shadow.windows.filter(starts_at__gte=last - LATENCY_WINDOW).values_list("latency", flat=True):
            latency = _added(latency, counts)
    return ShadowFigures(
        rows=rows,
        agreed=agreed,
        differed=rows - agreed - errors,
        errors=errors,
        dropped=dropped,
        agreement=agreed / rows if rows else None,
        agreement_interval=share_interval(agreed, rows) if rows else None,
        p50_milliseconds=in_milliseconds(quantile(latency, 0.5)),
        p99_milliseconds=in_milliseconds(quantile(latency, 0.99)),
    )


def _added(counts: Sequence[int], others: Sequence[int]) -> list[int]:
    # An older release may have used other buckets.
    fitting = [item for item in (counts, others) if len(item) == len(SECONDS) + 1]
    return [sum(column) for column in zip(*fitting, strict=True)]
