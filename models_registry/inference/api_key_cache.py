"""The API keys as a replica holds them: in memory, replaced as a whole at each poll."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from models_registry.inference.rates import SharedBucket

# Longer than any key of ours; what is longer need not be hashed to be refused.
MAX_KEY = 200


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One key: for which models (None: all), until when (seconds since 1970), and how often."""

    id: int
    name: str
    prefix: str
    models: frozenset[str] | None = None
    expires_at: float | None = None
    bucket: SharedBucket | None = None

    def is_expired(self) -> bool:
        """Return whether it has expired."""
        return self.expires_at is not None and time.time() >= self.expires_at


@dataclass(frozen=True, slots=True)
class ApiKeyCache:
    """The keys in use, by the SHA-256 of each."""

    by_digest: Mapping[bytes, HeldKey] = field(default_factory=dict)

    def find(self, key: str) -> HeldKey | None:
        """Return the key in use; None for any other text."""
        if len(key) > MAX_KEY:
            return None
        # Looked up by its digest, so the time that it takes says nothing of how much of a guess was right.
        return self.by_digest.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())


class KeyUses:
    """When each key was used last, kept in memory until somebody writes it down."""

    def __init__(self) -> None:
        """Know of no use."""
        self._used_at: dict[int, float] = {}

    def note(self, key: HeldKey) -> None:
        """Remember that `key` is used now."""
        self._used_at[key.id] = time.time()

    def take(self) -> dict[int, datetime]:
        """Return what was noted since the last time."""
        taken, self._used_at = self._used_at, {}
        return {key_id: datetime.fromtimestamp(seconds, UTC) for key_id, seconds in taken.items()}

    def put_back(self, uses: Mapping[int, datetime]) -> None:
        """Keep what could not be written down; later uses go before it."""
        self._used_at = {key_id: used_at.timestamp() for key_id, used_at in uses.items()} | self._used_at
