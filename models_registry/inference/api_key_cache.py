"""A replica's cache of API keys: in memory, replaced as a whole at each poll."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from models_registry.inference.rates import SharedBucket

# Longer than any of the registry's keys; a longer text is refused without hashing.
MAX_KEY = 200


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One key: its models (None: all), its expiry (seconds since 1970), and its rate limit."""

    id: int
    name: str
    prefix: str
    models: frozenset[str] | None = None
    expires_at: float | None = None
    bucket: SharedBucket | None = None

    def is_expired(self) -> bool:
        """Return whether the key has expired."""
        return self.expires_at is not None and time.time() >= self.expires_at


@dataclass(frozen=True, slots=True)
class ApiKeyCache:
    """The keys that are not revoked, by the SHA-256 of each; expired keys are included."""

    by_digest: Mapping[bytes, HeldKey] = field(default_factory=dict)

    def find(self, key: str) -> HeldKey | None:
        """Return the key, also if it has expired; None for an unknown or revoked key."""
        if len(key) > MAX_KEY:
            return None
        # Looked up by digest, so the time of a lookup reveals nothing about a partly correct guess.
        return self.by_digest.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())


class KeyUses:
    """When each key was last used, kept in memory until a thread stores it."""

    def __init__(self) -> None:
        """Start empty."""
        self._used_at: dict[int, float] = {}

    def note(self, key: HeldKey) -> None:
        """Note that `key` is used now."""
        self._used_at[key.id] = time.time()

    def take(self) -> dict[int, datetime]:
        """Return the uses since the last call."""
        taken, self._used_at = self._used_at, {}
        return {key_id: datetime.fromtimestamp(seconds, UTC) for key_id, seconds in taken.items()}

    def put_back(self, uses: Mapping[int, datetime]) -> None:
        """Keep uses that could not be stored; later uses win."""
        self._used_at = {key_id: used_at.timestamp() for key_id, used_at in uses.items()} | self._used_at
