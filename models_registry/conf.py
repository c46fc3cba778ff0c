"""The settings that need a conversion or a derived value; other modules read `django.conf.settings` themselves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings

from models_registry.artifacts.cache import ArtifactCache
from models_registry.storage import LogStorage, VersionedStorage, open_log_storage, open_storage

LISTING_BESIDE_QUEUE_SECONDS = 900.0
MIN_REPLICA_TIMEOUT_SECONDS = 10.0


def storage() -> VersionedStorage:
    """Return the storage at MODELS_STORAGE."""
    return open_storage(settings.MODELS_STORAGE)


def listing_seconds() -> float:
    """Return the interval of storage listings in seconds; long if notifications report each upload."""
    seconds: float = settings.MODELS_DISCOVERY_SECONDS
    return max(seconds, LISTING_BESIDE_QUEUE_SECONDS) if settings.MODELS_QUEUE_URL else seconds


def artifact_cache() -> ArtifactCache:
    """Return this machine's artifact cache."""
    return _artifact_cache(Path(settings.MODELS_CACHE), settings.MODELS_CACHE_MB)


@cache
def _artifact_cache(directory: Path, megabytes: int) -> ArtifactCache:
    return ArtifactCache(directory / "artifacts", max_bytes=megabytes * 1_000_000)


def compiled_directory() -> Path:
    """Return the directory of this machine's compiled forms."""
    return Path(settings.MODELS_CACHE) / "compiled"


def log_storage() -> LogStorage:
    """Return the storage of the prediction log, at MODELS_LOG_STORAGE."""
    return open_log_storage(settings.MODELS_LOG_STORAGE)


def trusted_globals() -> frozenset[str]:
    """Return the operator's additions to the list of trusted names."""
    return frozenset(settings.MODELS_TRUSTED_GLOBALS)


def batch_locations() -> tuple[str, ...]:
    """Return the locations that batches from the API may read and write."""
    return tuple(settings.MODELS_BATCH_LOCATIONS)


def replica_timeout_seconds() -> float:
    """Return the time in seconds after which a silent replica no longer counts as live."""
    return max(MIN_REPLICA_TIMEOUT_SECONDS, 5 * float(settings.MODELS_POLL_SECONDS))
