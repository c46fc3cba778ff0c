"""Synchronizes a replica's API keys with the registry, and stores their last uses."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from django.db import DatabaseError

from models_registry import services
from models_registry.agent.database_thread import DatabaseThread
from models_registry.inference.api_key_cache import ApiKeyCache, HeldKey
from models_registry.inference.rates import SharedBucket
from models_registry.inference.runtime import Runtime
from models_registry.services.api_keys import StoredKey

log = structlog.get_logger(__name__)

# Last uses are accurate to the minute.
FLUSH_SECONDS = 60.0


class ApiKeySync:
    """Reads the keys at every poll, in its own thread. A load or a slow query must not delay a revocation."""

    def __init__(
        self, runtime: Runtime, *, poll_seconds: float, directory: Path, flush_seconds: float = FLUSH_SECONDS
    ) -> None:
        """Update the keys of `runtime`; the workers of this machine share files in `directory`."""
        self._runtime = runtime
        self._directory = directory
        self._flush_seconds = flush_seconds
        self._flushed_at = time.monotonic()
        # Without events: the reconciler already logs an unavailable database. The cached keys stay valid.
        self._thread = DatabaseThread(
            "api_key_sync", self._step, seconds=poll_seconds, is_eager=True, last_step=self._last_step
        )

    def start(self, *, wait_seconds: float) -> None:
        """Start, and wait until the keys are read or `wait_seconds` have passed."""
        self._thread.start(wait_seconds=wait_seconds)

    def stop(self) -> None:
        """Stop, and store the last uses."""
        self._thread.stop()

    def read(self) -> None:
        """Replace the cached keys by those that are not revoked. Raises DatabaseError."""
        stored = services.read_keys()
        hosts = max(1, services.count_live_hosts()) if any(key.rate_per_minute for key in stored) else 1
        before = self._runtime.keys.by_digest if self._runtime.keys else {}
        digests = [bytes.fromhex(key.digest) for key in stored]
        self._runtime.keys = ApiKeyCache(
            {digest: self._held(key, before.get(digest), hosts) for digest, key in zip(digests, stored, strict=True)}
        )

    def write_uses(self) -> None:
        """Store the uses since the last call; if the database is unavailable, keep them for the next call."""
        self._flushed_at = time.monotonic()
        uses = self._runtime.key_uses.take()
        try:
            services.record_key_uses(uses)
        except DatabaseError:
            self._runtime.key_uses.put_back(uses)
            raise

    def _held(self, key: StoredKey, before: HeldKey | None, hosts: int) -> HeldKey:
        return HeldKey(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            models=frozenset(key.model_names) or None,
            expires_at=key.expires_at.timestamp() if key.expires_at else None,
            bucket=self._bucket(key, before, hosts),
        )

    def _bucket(self, key: StoredKey, before: HeldKey | None, hosts: int) -> SharedBucket | None:
        if key.rate_per_minute is None:
            return None
        # Load balancers spread requests evenly over machines, so each machine gets an equal share.
        share = key.rate_per_minute / hosts
        if before is not None and before.bucket is not None and before.bucket.per_minute == share:
            return before.bucket
        # By digest: in another database, another key may have the same id.
        return SharedBucket(self._directory / f"key-{key.digest[:16]}", per_minute=share)

    def _step(self) -> None:
        self.read()
        if time.monotonic() - self._flushed_at >= self._flush_seconds:
            self.write_uses()

    def _last_step(self) -> None:
        self.read()
        self.write_uses()
