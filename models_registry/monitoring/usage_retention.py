"""Adds up minutes to hours, and deletes expired windows."""

from __future__ import annotations

from datetime import datetime, timedelta

from models_registry.models import ShadowWindow, UsageWindow
from models_registry.monitoring.usage import write_hour

KEEP_MINUTES = timedelta(days=14)
KEEP_HOURS = timedelta(days=400)
# A replica that cannot write keeps its minutes for two hours, so the last hours are added up again.
SUMMED_UP_AGAIN = timedelta(hours=3)
# The counts of features are the largest part of a minute: after this time only the hour has them.
KEEP_FEATURES = SUMMED_UP_AGAIN + timedelta(hours=1)
HOUR = timedelta(hours=1)


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour of `moment`."""
    return moment.replace(minute=0, second=0, microsecond=0)


def summed_up_until(now: datetime) -> datetime:
    """Return the end of the last summed hour; later minutes have no sum yet."""
    last = UsageWindow.objects.hours().filter(starts_at__lte=now).order_by("-starts_at").first()
    return last.starts_at + HOUR if last is not None else now - KEEP_MINUTES


def keep_in_bounds(now: datetime) -> None:
    """Add up each hour that has ended, and delete expired windows."""
    began = min(summed_up_until(now), hour_of(now) - SUMMED_UP_AGAIN)
    for hour in _hours_with_minutes(began, hour_of(now)):
        write_hour(hour, UsageWindow.objects.minutes().filter(starts_at__gte=hour, starts_at__lt=hour + HOUR))
    before = hour_of(now) - KEEP_FEATURES
    _clear_features(since=min(began, before) - 2 * HOUR, before=before)
    UsageWindow.objects.minutes().filter(starts_at__lt=now - KEEP_MINUTES).delete()
    UsageWindow.objects.hours().filter(starts_at__lt=now - KEEP_HOURS).delete()
    ShadowWindow.objects.filter(starts_at__lt=now - KEEP_MINUTES).delete()


def _clear_features(*, since: datetime, before: datetime) -> None:
    minutes = UsageWindow.objects.minutes().filter(starts_at__gte=since, starts_at__lt=before)
    minutes.exclude(features={}).update(features={})


def _hours_with_minutes(start: datetime, end: datetime) -> list[datetime]:
    rows = UsageWindow.objects.minutes().filter(starts_at__gte=start, starts_at__lt=end)
    return sorted({hour_of(moment) for moment in rows.values_list("starts_at", flat=True).distinct()})
