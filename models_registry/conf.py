"""The registry's settings as typed values; the one place where the app reads Django's settings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings

from models_registry.artifacts.cache import ArtifactCache
from models_registry.storage import LogStorage, VersionedStorage, open_log_storage, open_storage

LISTING_BESIDE_QUEUE_SECONDS = 900.0


def storage() -> VersionedStorage:
    """Return the storage that MODELS_STORAGE names."""
    return open_storage(settings.MODELS_STORAGE)


def listing_seconds() -> float:
    """Return how often the storage is listed: rarely where notifications tell of each upload."""
    seconds: float = settings.MODELS_DISCOVERY_SECONDS
    return max(seconds, LISTING_BESIDE_QUEUE_SECONDS) if settings.MODELS_QUEUE_URL else seconds


def artifact_cache() -> ArtifactCache:
    """Return this machine's artifact cache."""
    return _artifact_cache(Path(settings.MODELS_CACHE), settings.MODELS_CACHE_MB)


@cache
def _artifact_cache(directory: Path, megabytes: int) -> ArtifactCache:
    return ArtifactCache(directory / "artifacts", max_bytes=megabytes * 1_000_000)


def compiled_directory() -> Path:
    """Return where this machine keeps compiled forms."""
    return Path(settings.MODELS_CACHE) / "compiled"


def log_storage() -> LogStorage:
    """Return the storage of the prediction log, which MODELS_LOG_STORAGE names."""
    return open_log_storage(settings.MODELS_LOG_STORAGE)


def trusted_globals() -> frozenset[str]:
    """Return the names that an operator added to the allow-list."""
    return frozenset(settings.MODELS_TRUSTED_GLOBALS)


def batch_locations() -> tuple[str, ...]:
    """Return the places that batches of the API may read and write."""
    return tuple(settings.MODELS_BATCH_LOCATIONS)


def replica_timeout_seconds() -> float:
    """Return how long a silent replica still counts as live."""
    return max(10.0, 5 * float(settings.MODELS_POLL_SECONDS))
