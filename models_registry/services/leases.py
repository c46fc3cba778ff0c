"""Tasks that one replica at a time does for all."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from models_registry.models import Lease


def claim_lease(name: str, *, holder: str, seconds: float) -> bool:
    """Return whether `holder` may do the task now; no other replica may for `seconds`."""
    now = timezone.now()
    # Most requests for a lease are refused: that costs one query, and no write.
    if Lease.objects.filter(name=name, expires_at__gt=now).exists():
        return False
    Lease.objects.get_or_create(name=name, defaults={"expires_at": now - timedelta(seconds=1)})
    claimed = Lease.objects.filter(name=name, expires_at__lte=now).update(
        holder=holder, expires_at=now + timedelta(seconds=seconds)
    )
    return bool(claimed)


def finish_lease(name: str, *, holder: str, next_in_seconds: float, note: str = "") -> None:
    """Record that the task is done, with what there is to say; it is due again in `next_in_seconds`."""
    now = timezone.now()
    Lease.objects.filter(name=name, holder=holder).update(
        done_at=now, note=note, expires_at=now + timedelta(seconds=next_in_seconds)
    )
