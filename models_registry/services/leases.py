"""Leases for tasks that one replica at a time runs for all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.utils import timezone

from models_registry.models import Lease


def seconds_to_next_lease(names: Collection[str]) -> float:
    """Return the seconds until one of these tasks is due; zero if one is."""
    expires = list(Lease.objects.filter(name__in=names).values_list("expires_at", flat=True))
    if len(expires) < len(names):
        return 0.0
    return max(0.0, (min(expires) - timezone.now()).total_seconds())


def claim_lease(name: str, *, holder: str, seconds: float) -> bool:
    """Return whether `holder` gets the task; other replicas do not get it for `seconds`."""
    now = timezone.now()
    # Most requests for a lease are refused: these take one query and no write.
    if Lease.objects.filter(name=name, expires_at__gt=now).exists():
        return False
    Lease.objects.get_or_create(name=name, defaults={"expires_at": now - timedelta(seconds=1)})
    claimed = Lease.objects.filter(name=name, expires_at__lte=now).update(
        holder=holder, expires_at=now + timedelta(seconds=seconds)
    )
    return bool(claimed)


def finish_lease(name: str, *, holder: str, next_in_seconds: float, note: str = "") -> None:
    """Record that the task is done, with a result; it is due again in `next_in_seconds`."""
    now = timezone.now()
    Lease.objects.filter(name=name, holder=holder).update(
        done_at=now, note=note, expires_at=now + timedelta(seconds=next_in_seconds)
    )
