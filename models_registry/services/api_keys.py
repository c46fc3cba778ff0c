"""API keys: creation, revocation, and the list that every replica polls."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from models_registry.errors import RequestError, UnknownKey
from models_registry.models import ApiKey, Replica
from models_registry.services.catalogue import get_model

log = structlog.get_logger(__name__)

PREFIX = "mlapi_"
VISIBLE_CHARACTERS = 8
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredKey:
    """The data of a key that replicas need: not a database row, and without the text of the key."""

    id: int
    name: str
    prefix: str
    digest: str
    model_names: tuple[str, ...]
    rate_per_minute: int | None
    expires_at: datetime | None


def create_key(
    name: str,
    *,
    by: str,
    model_names: Iterable[str] = (),
    expires_in_days: float | None = None,
    rate_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key's row and the key, which is not stored: show it once.

    Raises RequestError for the name of a key that is not revoked, and for an invalid term or rate. Raises UnknownModel
    for an unregistered model.
    """
    names = [get_model(item).name for item in dict.fromkeys(model_names)]
    _require_valid(name, expires_in_days, rate_per_minute)
    visible = PREFIX + secrets.token_hex(VISIBLE_CHARACTERS // 2)
    key = f"{visible}_{secrets.token_urlsafe(SECRET_BYTES)}"
    try:
        with transaction.atomic():
            row = ApiKey.objects.create(
                name=name.strip(),
                prefix=visible,
                digest=digest_of_key(key),
                model_names=names,
                rate_per_minute=rate_per_minute,
                expires_at=timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None,
                created_by=by,
            )
    except IntegrityError as error:
        raise RequestError(
            f"A key called {name.strip()!r} is in use. Take another name, or revoke that one first."
        ) from error
    log.info("key_created", key=row.prefix, name=row.name, models=names or "all", by=by)
    return row, key


def digest_of_key(key: str) -> str:
    """Return the stored digest of a key.

    One pass of SHA-256 suffices: slow hashes protect guessable passwords, and 256 random bits cannot be guessed.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def _require_valid(name: str, expires_in_days: float | None, rate_per_minute: int | None) -> None:
    if not 0 < len(name.strip()) <= 100:
        raise RequestError("A key needs a name of 1 to 100 characters: its user, e.g. 'web shop'.")
    if expires_in_days is not None and not 0 < expires_in_days <= 36_500:
        raise RequestError(f"The term is {expires_in_days:g} days; expected more than 0 and at most 36500.")
    if rate_per_minute is not None and not 0 < rate_per_minute <= 100_000_000:
        raise RequestError(f"The rate is {rate_per_minute} requests a minute; expected 1 to 100000000.")


def get_key(name_or_prefix: str) -> ApiKey:
    """Return the key that is not revoked with that name or visible prefix; UnknownKey without one."""
    # A pasted whole key selects the key with its prefix.
    prefix = name_or_prefix[: len(PREFIX) + VISIBLE_CHARACTERS]
    row = ApiKey.objects.not_revoked().filter(Q(name=name_or_prefix) | Q(prefix=prefix)).first()
    if row is None:
        names = ", ".join(ApiKey.objects.not_revoked().values_list("name", flat=True)[:10])
        shown = name_or_prefix if len(name_or_prefix) <= 100 else f"{name_or_prefix[:20]}…"
        raise UnknownKey(f"No key in use is called {shown!r}. In use are: {names or 'none'}.")
    return row


def revoke_key(key: ApiKey, *, by: str) -> bool:
    """Revoke the key from every replica's next poll on; return False if it already was revoked."""
    now = timezone.now()
    updated = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now, revoked_by=by)
    key.refresh_from_db()
    if updated:
        log.info("key_revoked", key=key.prefix, name=key.name, by=by)
    return bool(updated)


def read_keys() -> tuple[StoredKey, ...]:
    """Return the keys that are not revoked, including expired ones, with one query."""
    rows = (
        ApiKey.objects.not_revoked()
        .order_by("pk")
        .values_list("pk", "name", "prefix", "digest", "model_names", "rate_per_minute", "expires_at")
    )
    return tuple(
        StoredKey(pk, name, prefix, digest, tuple(names), rate, expires_at)
        for pk, name, prefix, digest, names, rate, expires_at in rows
    )


def count_live_hosts() -> int:
    """Return the number of machines or containers with live replicas: they share a key's rate."""
    return Replica.objects.live().order_by().values("host").distinct().count()


def record_key_uses(uses: Mapping[int, datetime]) -> None:
    """Store the last use of each key; an earlier use than the stored one changes nothing."""
    for pk, used_at in uses.items():
        ApiKey.objects.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=used_at), pk=pk).update(
            last_used_at=used_at
        )
