"""Checks logged or counted models for drift, and reports new drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from models_registry.errors import StorageError
from models_registry.models import DriftCheck, ModelVersion, RegisteredModel
from models_registry.monitoring.drift import DRIFTED, STABLE
from models_registry.services.drift import drift_report
from models_registry.services.webhooks import record_event

log = structlog.get_logger(__name__)

PAUSE = timedelta(minutes=15)
WINDOW = timedelta(hours=24)
# The validity of a check. With many models, a check may be late.
KEPT = 4 * PAUSE


def check_drift_next() -> bool:
    """Check one active version with logged or counted requests for drift; return whether one was due.

    Each version is due every PAUSE; only one replica checks it.
    """
    due_before = timezone.now() - PAUSE
    never = Q(active_version__drift_check=None) | Q(active_version__drift_check__checked_at=None)
    due = never | Q(active_version__drift_check__checked_at__lte=due_before)
    watched = Q(capture_percent__gt=0) | Q(active_version__feature_bins__isnull=False)
    model = (
        RegisteredModel.objects.filter(watched, due, active_version__isnull=False)
        .select_related("active_version")
        .first()
    )
    if model is None or model.active_version is None:
        return False
    check, _ = DriftCheck.objects.get_or_create(version=model.active_version)
    claimed = DriftCheck.objects.filter(Q(checked_at=None) | Q(checked_at__lte=due_before), pk=check.pk).update(
        checked_at=timezone.now()
    )
    if claimed:
        _look_at(model, model.active_version, check)
    return True


def drifted_columns(version_ids: Iterable[int | None]) -> dict[int | None, list[str]]:
    """Return the drifted columns of the last check by version id, with one query."""
    # An older check belongs to a version that is no longer watched.
    since = timezone.now() - KEPT
    checks = DriftCheck.objects.filter(version__in=[pk for pk in version_ids if pk is not None], checked_at__gte=since)
    return {check.version_id: [*check.features, *(["predictions"] if check.predictions else [])] for check in checks}


def _look_at(model: RegisteredModel, version: ModelVersion, check: DriftCheck) -> None:
    try:
        report = drift_report(model, WINDOW, number=version.number)
    except StorageError as error:
        log.error("drift_check_postponed", model=model.name, reason=str(error))
        return
    (found,) = (item for item in report["versions"] if item["version"] == version.number)
    features = [item["name"] for item in found["features"] if _has_drifted(item, item["name"] in check.features)]
    predictions = _has_drifted(found["predictions"], check.predictions)
    is_new = bool(set(features) - set(check.features)) or (predictions and not check.predictions)
    with transaction.atomic():
        DriftCheck.objects.filter(pk=check.pk).update(features=features, predictions=predictions)
        if is_new:
            data = {"model": model.name, "version": version.number, "features": features, "predictions": predictions}
            record_event("drift.detected", data)
            log.warning("drift_detected", **data)


def _has_drifted(column: Mapping[str, Any], had_drifted: bool) -> bool:
    """Return whether a column has drifted; without a verdict, the earlier state stays."""
    return column["verdict"] == DRIFTED or (had_drifted and column["verdict"] != STABLE)
